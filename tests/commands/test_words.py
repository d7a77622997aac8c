"""What is said of a table before the work."""

import numpy as np
import pandas as pd
import pytest

from skinfluence.commands._arguments import make_parser
from skinfluence.commands._problem import read_problem
from skinfluence.commands._words import introduce
from tests.commands.tables import write


def said(tmp_path, y):
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=len(y)), "y": y})
    path = str(write(tmp_path, frame=frame))
    arguments = ["audit", path, "--target", "y", "--report", "r.html"]
    return "\n".join(introduce(read_problem(make_parser().parse_args(arguments))))


def test_gross_errors_among_the_targets_are_named(tmp_path):
    y = np.random.default_rng(1).normal(50, 10, 60).round(2)
    assert "Note" not in said(tmp_path, y)
    y[[3, 40]] *= 1000
    assert "Note: 'y' is far from all others" in said(tmp_path, y)
    assert "in lines 5 and 42: look at these first." in said(tmp_path, y)


def test_labels_are_never_far_from_others(tmp_path):
    y = np.tile([1, 2], 30)
    y[3] = 999
    assert "Note" not in said(tmp_path, y)


@pytest.mark.parametrize(
    ("label", "told"),
    [
        ("cafe\u0301", r"'cafe\u0301' and 'caf\xe9'"),
        ("\ufeffcaf\xe9", r"'caf\xe9' and '\ufeffcaf\xe9'"),
        (" Caf\xe9", r"' Caf\xe9' and 'caf\xe9'"),
        ("cafe", None),
    ],
    ids=["accent", "mark", "capital", "other"],
)
def test_labels_that_look_the_same_are_told(tmp_path, label, told):
    found = said(tmp_path, ["caf\xe9", label] * 30)
    assert ("Note: the labels" in found) == (told is not None)
    assert told is None or f"{told} differ in spaces, capitals or code only." in found
