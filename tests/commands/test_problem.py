"""The folds: every row is judged once, and no class is strange to a model."""

from types import SimpleNamespace

import numpy as np
import pytest

from skinfluence.commands._problem import make_folds


def target(y, task="classification"):
    return SimpleNamespace(y=np.asarray(y), task=task)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_each_row_validates_once_and_trains_in_the_other_folds(task):
    y = np.arange(101) % 3 if task == "classification" else np.arange(101.0)
    folds = make_folds(target(y, task), seed=1)
    counts = sum(np.bincount(held_out, minlength=101) for _, held_out in folds)
    assert (counts == 1).all()
    for train, held_out in folds:
        assert sorted([*train, *held_out]) == list(range(101))
        assert 20 <= len(held_out) <= 21


def test_classes_are_spread_evenly_as_far_as_they_go():
    y = np.array(["a"] * 50 + ["b"] * 20 + ["c"] * 2 + ["d"])
    for train, held_out in make_folds(target(y), seed=0):
        assert set(y[held_out]) <= set(y[train])
        assert (y[held_out] == "a").sum() == 10
        assert (y[held_out] == "b").sum() == 4
        assert (y[held_out] == "c").sum() <= 1
        assert "d" not in y[held_out]


def test_seed_decides():
    y = np.arange(50) % 2
    first, again, other = (
        [held_out.tolist() for _, held_out in make_folds(target(y), seed)]
        for seed in (0, 0, 1)
    )
    assert first == again != other
