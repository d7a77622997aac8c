"""Numbers that are codes of groups are told, quantities are not."""

import numpy as np
import pandas as pd
import pytest

from skinfluence.commands import main
from skinfluence.commands._arguments import make_parser
from skinfluence.commands._codes import possible_codes
from skinfluence.commands._problem import read_problem
from tests.commands.tables import QUICK, write

N = 600
rng = np.random.default_rng(0)
SCHOOL = rng.integers(1, 61, N)  # about ten rows of each
LEVEL = rng.normal(size=61)
AGE = np.clip(rng.normal(40, 12, N).round(), 18, 80).astype(int)


def found(tmp_path, target, *options, **columns):
    frame = pd.DataFrame({**columns, "y": target})
    path = str(write(tmp_path, frame=frame))
    arguments = ["audit", path, "--target", "y", "--report", "r.html", *options]
    return possible_codes(read_problem(make_parser().parse_args(arguments)))


def marks(school, spread=0.5):
    return (LEVEL[school] + spread * rng.normal(size=N)).round(3)


def test_codes_are_told_by_what_goes_with_them(tmp_path):
    assert found(tmp_path, marks(SCHOOL), schl=SCHOOL, age=AGE) == ["schl"]


@pytest.mark.slow
def test_the_note_says_what_to_do(tmp_path, capsys):
    frame = pd.DataFrame({"schl": SCHOOL, "age": AGE, "y": marks(SCHOOL)})
    path = str(write(tmp_path, frame=frame))
    report = str(tmp_path / "r.html")
    assert not main(["audit", path, "--target", "y", "--report", report, *QUICK])
    said = capsys.readouterr().out
    assert "Note: 'schl' is taken as a number" in said
    assert "if it is a code, pass --column schl=category." in said


def test_also_with_labels_and_constant_groups(tmp_path):
    labels = np.where(LEVEL[SCHOOL] > 0, "good", "bad")
    income = (1000 * LEVEL[SCHOOL]).round(2)
    assert found(tmp_path, labels, schl=SCHOOL, income=income) == ["schl"]


@pytest.mark.parametrize(
    "target",
    [
        (AGE / 10 + rng.normal(size=N)).round(3),  # steadily
        np.sin(AGE / 8).round(3),  # up and down, but steadily
        rng.normal(size=N).round(3),  # not at all
        np.where(AGE + rng.normal(0, 9, N) > 40, "old", "young"),
    ],
    ids=["line", "wave", "noise", "labels"],
)
def test_quantities_are_none(tmp_path, target):
    assert found(tmp_path, target, age=AGE) == []


def test_a_kind_that_was_asked_for_is_not_doubted(tmp_path):
    options = ("--column", "schl=number")
    assert found(tmp_path, marks(SCHOOL), *options, schl=SCHOOL, age=AGE) == []
    options = ("--column", "schl=category")
    assert found(tmp_path, marks(SCHOOL), *options, schl=SCHOOL, age=AGE) == []
