"""Columns that give the target away are told, others are not."""

import numpy as np
import pandas as pd
import pytest

from skinfluence.commands._arguments import make_parser
from skinfluence.commands._issues import giveaways
from skinfluence.commands._problem import read_problem
from tests.commands.tables import write

N = 120
rng = np.random.default_rng(0)
LABELS = rng.choice(["a", "b", "c"], N)
NUMBERS = rng.normal(size=N).round(4)
CODES = {"a": 3, "b": 1, "c": 2}


def found(tmp_path, column, target, *options):
    noise = rng.normal(size=N).round(3)
    frame = pd.DataFrame({"it": column, "noise": noise, "y": target})
    path = str(write(tmp_path, frame=frame))
    arguments = ["audit", path, "--target", "y", "--report", "r.html", *options]
    return giveaways(read_problem(make_parser().parse_args(arguments)))


@pytest.mark.parametrize(
    ("column", "target", "tells"),
    [
        ([CODES[label] for label in LABELS], LABELS, True),
        (["" if label == "a" else CODES[label] for label in LABELS], LABELS, True),
        ([f"in {label}" for label in LABELS], LABELS, True),
        # Wrong labels in one row of sixty do not hide it.
        (np.where(np.arange(N) % 60 == 7, "a", LABELS), LABELS, True),
        (np.where(np.arange(N) % 5 == 0, "a", LABELS), LABELS, False),
        (rng.choice(["x", "y"], N), LABELS, False),
        ([24 - value for value in NUMBERS], NUMBERS, True),
        (NUMBERS + rng.normal(0, 0.2, N).round(3), NUMBERS, False),
        (np.where(NUMBERS > 0, 1, 0), NUMBERS, False),
    ],
)
def test_giveaways(tmp_path, column, target, tells):
    assert found(tmp_path, column, target) == (["it"] if tells else [])


def test_columns_that_are_not_used_are_none(tmp_path):
    cells = [CODES[label] for label in LABELS]
    assert found(tmp_path, cells, LABELS, "--drop", "it") == []
