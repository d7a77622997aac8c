"""The score before and after a cleaning, and the choice of a number to remove."""

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from skinfluence import SGDInfluenceClassifier
from skinfluence.commands._cleaning import Cleaning, cleaned_rows, repeated
from skinfluence.commands._judge import Change, judge
from skinfluence.exceptions import IrreproducibleStepError


class Majority(ClassifierMixin, BaseEstimator):
    """Predicts the most frequent label, and notes on what it was fitted."""

    seen: ClassVar = []

    def __init__(self, record="all"):
        self.record = record

    def fit(self, X, y):
        self.seen.append((X[:, 0].tolist(), list(y)))
        labels, counts = np.unique(y, return_counts=True)
        self.label_ = labels[counts.argmax()]
        return self

    def predict(self, X):
        return np.full(len(X), self.label_)


@pytest.fixture
def model():
    Majority.seen = []
    return Majority()


def problem(y, **tables):
    X = np.arange(len(y), dtype=float)[:, None]
    target = SimpleNamespace(y=np.array(y), task="classification")
    tables = {"valid": None, "test": None, "called": "rows", **tables}
    return SimpleNamespace(X=X, target=target, **tables)


def test_cleaned_rows_are_those_left_with_their_new_labels():
    y = np.array(["a", "b", "a", "b"])
    cleaning = Cleaning(np.array([0, 3]), {2: "b"})
    left, labels = cleaned_rows(y, cleaning, np.array([0, 1, 2]))
    assert left.tolist() == [1, 2]
    assert labels.tolist() == ["b", "b"]
    assert y.tolist() == ["a", "b", "a", "b"]


def test_folds_train_on_the_cleaned_rows_and_judge_by_undecided_ones(model):
    given = problem(["a", "a", "b", "a", "b", "a", "b", "b"])
    cleaning = Cleaning(np.array([0, 5]), {1: "b"})
    fold = np.array([0, 1, 2, 3]), np.array([4, 5, 6, 7])
    (change,) = judge(given, model, cleaning, [fold])
    assert Majority.seen == [
        ([0, 1, 2, 3], ["a", "a", "b", "a"]),
        ([1, 2, 3], ["b", "b", "a"]),
    ]
    # Row 5 was decided upon; the labels of 4, 6 and 7 are all b.
    assert (change.before.tolist(), change.after.tolist()) == ([0.0], [1.0])


def test_tables_judge_models_of_all_rows(model):
    rows = np.zeros((4, 1)), np.array(["b", "b", "b", "a"])
    given = problem(["a", "a", "b"], valid=rows, test=rows)
    changes = judge(given, model, Cleaning(np.array([0]), {1: "b"}), None)
    wheres = [change.where for change in changes]
    assert wheres == ["on the validation table", "on the test table"]
    assert [change.before.item() for change in changes] == [0.25, 0.25]
    assert [change.after.item() for change in changes] == [0.75, 0.75]


def test_where_all_was_decided_nothing_judges(model):
    given = problem(["a", "b", "a", "b"])
    cleaning = Cleaning(np.array([2, 3]), {})
    assert judge(given, model, cleaning, [(np.arange(2), np.arange(2, 4))]) == []


def test_change_in_words():
    change = Change("here", np.array([0.5, 0.7]), np.array([0.6, 0.7]))
    # Differences 0.1 and 0: a standard error of 0.05.
    assert change.in_words("accuracy") == (
        "accuracy here: 0.6000 before, 0.6500 after, +0.0500 ± 0.0500"
    )


def test_repeated_runs_in_words():
    scores = np.array([0.5, 0.7]), np.array([0.6, 0.7])
    _, line = Change("here", *scores, np.array([0.5, 0.6])).lines("R²")
    assert line == (
        "  The same runs, repeated exactly with the same batches: 0.5500 after, "
        "−0.0500 ± 0.0500."
    )
    _, line = Change("here", *scores, "the reason.").lines("R²")
    assert line == "  The same runs cannot be repeated exactly: the reason."
    assert len(Change("here", *scores).lines("R²")) == 1


class Repeatable(Majority):
    """Repeats nothing, but notes what it would have to."""

    asked: ClassVar = []

    def __init__(self, record="all", max_trajectory_bytes=None):
        self.record, self.max_trajectory_bytes = record, max_trajectory_bytes

    def refit_without(self, samples, *, relabel):
        self.asked.append((samples.tolist(), relabel, self.record))
        if 2 in samples:
            raise IrreproducibleStepError("the bits differ.")
        other = Repeatable()
        other.label_ = "b"
        return other


def test_the_runs_of_the_folds_are_repeated_under_the_decisions():
    Repeatable.asked = []
    given = problem(["a", "a", "b", "a", "b", "a", "b", "b"])
    cleaning = Cleaning(np.array([0, 5]), {1: "b", 6: "a"})
    folds = [
        (np.array([7, 5, 1, 3]), np.array([0, 2, 4, 6])),
        # None of its rows is decided on: it is as it was.
        (np.array([2, 3]), np.array([4, 7])),
    ]
    (change,) = judge(given, Repeatable(), cleaning, folds, repeat=True)
    assert Repeatable.asked == [([1], {2: "b"}, "replay")]
    # Rows 2 and 4, and 4 and 7, judge; all of them are b.
    assert change.repeated.tolist() == [1.0, change.before[1]]


def test_why_a_run_is_not_repeated_is_told():
    Repeatable.asked = []
    given = problem(["a", "a", "b", "a", "b", "b"])
    fold = np.array([0, 1, 2, 3]), np.array([4, 5])
    cleaning = Cleaning(np.array([2]), {})
    (change,) = judge(given, Repeatable(), cleaning, [fold], repeat=True)
    assert change.repeated == "the bits differ."


def test_a_repeated_run_has_the_new_labels():
    rng = np.random.default_rng(0)
    X, rows = rng.normal(size=(40, 3)).astype("f"), rng.permutation(40)[:30]
    y = np.where(X[:, 0] > 0, "yes", "no")
    options = {"max_epochs": 2, "batch_size": 8, "random_state": 0}
    model = SGDInfluenceClassifier("linear", record="replay", **options)
    other = {int(row): "no" for row in rows[y[rows] == "yes"][:4]}
    corrected = y.copy()
    corrected[list(other)] = "no"
    # No row is removed: a fresh run from the same seed has the same batches.
    expected = SGDInfluenceClassifier("linear", **options).fit(X[rows], corrected[rows])
    found, why = repeated(
        model.fit(X[rows], y[rows]), rows, Cleaning(np.array([], dtype=int), other)
    )
    assert why == ""
    assert (found.predict_proba(X) == expected.predict_proba(X)).all()
    assert not np.allclose(model.predict_proba(X), expected.predict_proba(X))
    unknown = Cleaning(np.array([], dtype=int), {int(rows[0]): "maybe"})
    found, why = repeated(model, rows, unknown)
    assert found is None
    assert "no other row that it learns from has the label 'maybe'" in why
