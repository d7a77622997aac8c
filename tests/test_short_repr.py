"""What a notebook shows is one line, or a statement, and no wall of numbers."""

import numpy as np
import pandas as pd
import pytest

from skinfluence import SGDInfluenceClassifier, influence_over_runs
from skinfluence._short_repr import short_repr
from skinfluence.inspection import CleaningCurveDisplay, TrajectoryDisplay

X = np.random.RandomState(0).randn(60, 3)
Y = (X[:, 0] > 0).astype(int)


class Something:
    def __init__(self, table, text="", number=1, unit=None):
        self.table, self.text, self.number, self.unit = table, text, number, unit


@pytest.mark.parametrize(
    ("instance", "expected"),
    [
        (Something(np.ones((500, 2))), "table=ndarray of shape (500, 2)"),
        (
            Something(pd.Series(range(9)), number=3),
            "table=Series of shape (9,), number=3",
        ),
        (Something([1, 2], unit="nats"), "table=[1, 2], unit='nats'"),
        (Something(np.float64(2.5)), "table=np.float64(2.5)"),
    ],
)
def test_parameters_other_than_the_defaults_by_shape_or_value(instance, expected):
    assert short_repr(instance) == f"Something({expected})"


def test_a_long_text_is_cut():
    assert len(short_repr(Something([], text="x" * 1000))) < 120


def test_displays_say_what_they_hold():
    display = TrajectoryDisplay(contributions=np.zeros((60, 5)), unit="nats")
    expected = "TrajectoryDisplay(contributions=ndarray of shape (60, 5), unit='nats')"
    assert repr(display) == expected
    curve = CleaningCurveDisplay(n_removes=[0, 1], scores={"loss": np.zeros((5, 2))})
    assert repr(curve).count("\n") == 0
    assert "loss" in repr(curve)


def test_a_run_and_what_is_said_of_it():
    clf = SGDInfluenceClassifier(max_epochs=2, batch_size=20, random_state=0).fit(X, Y)
    run = repr(clf.trajectory_)
    assert run.startswith("<Trajectory of 2 epochs, 6 steps over 60 samples;")
    assert len(run) < 120
    check = clf.check_influence(X, Y, n_samples=10, random_state=0)
    assert repr(check) == str(check)
    assert repr(check).splitlines()[1].startswith("10 samples: rank correlation ")
    runs = influence_over_runs(clf, X, Y, n_runs=2, random_state=0)
    assert repr(runs) == "<ScoresOverRuns of 2 runs over 60 samples>"
