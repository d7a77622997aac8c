"""What is said of a table before the work."""

import numpy as np
import pandas as pd

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
