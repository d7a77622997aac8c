"""The score before and after a cleaning, and the choice of a number to remove."""

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from skinfluence.commands._judge import Change, Cleaning, cleaned_rows, judge


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
    tables = {"valid": None, "test": None, **tables}
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
