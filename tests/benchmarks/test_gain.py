"""What the benchmark of cleaning's gain measures, on data that is told apart easily."""

import argparse

import numpy as np
import pandas as pd
import pytest

from benchmarks import gain
from tests.cleaning.problems import flipped_blobs, quick


@pytest.fixture(scope="module")
def case():
    X, y, flips, X_test, y_test = flipped_blobs(fraction=0.3)
    clf = quick(max_epochs=3, batch_size=60)
    return gain.Problem(clf, X, y, flips, X_test, y_test, seed=0)


def test_the_truth_finds_all_and_removes_as_many(case):
    row = gain.measured(case, "exactly the wrong", before=0.5)
    assert row["AP"] == row["precision"] == 1.0
    assert row["n_removed"] == case.is_wrong.sum() == 36
    kept = np.flatnonzero(~case.is_wrong)
    assert row["gain"] == 100 * (gain.score(case, kept) - 0.5)


@pytest.mark.parametrize("method", ["influence", "mean_loss"])
def test_rankings_find_more_than_chance(case, method):
    # Chance would have .3 of each, with a standard deviation of .06.
    row = gain.measured(case, method, before=0.0)
    assert row["AP"] > 0.45
    assert row["precision"] > 0.45
    assert row["n_removed"] == 36


def test_a_table_has_the_sets_that_were_measured():
    keys = dict(zip(gain.KEYS, ("Adult", "uniform", 0, "loss"), strict=True))
    rows = [
        {**keys, "seed": seed, "AP": 0.7, "gain": change, "seconds": 1.0}
        for seed, change in enumerate([1.0, 3.0])
    ]
    other = {**keys, "noise": "one class", "set": "MNIST", "AP": 0.7, "gain": 0.0}
    table = gain.documented(pd.DataFrame([*rows, other]), "uniform")
    assert table.columns.tolist() == ["method", "Adult"]
    # The mean of 1 and 3, and their standard deviation (√2) over √2.
    assert table["Adult"].tolist() == ["0.70 (+2.0\xa0±\xa01.0)"]


def test_all_together_are_the_methods_and_cases_that_can_be_compared():
    gains = {
        # Not tried in the second case; the third has no influence to compare with.
        "cleanlab, boosting": (1.0, None, 1.0),
        "influence": (4.0, 2.0, None),
        "random": (1.0, -1.0, 9.0),
    }
    cases = [("Adult", "uniform"), ("MNIST", "one class"), ("CIFAR-10", "uniform")]
    rows = [
        dict(zip(gain.KEYS, (*case, 0, method), strict=True)) | {"gain": change}
        for method, changes in gains.items()
        for case, change in zip(cases, changes, strict=True)
        if change is not None
    ]
    table = gain.overall(pd.DataFrame(rows)).set_index("method")
    assert table.index.tolist() == ["influence", "random"]
    assert table["all"].tolist() == ["+3.0", "+0.0"]
    assert table["noise in one class"].tolist() == ["+2.0", "−1.0"]
    assert table["uniform, by sample"].tolist() == ["+4.0", "+1.0"]
    assert table["against influence"].tolist() == ["", "−3.0 ± 0.0"]
    assert table["cases that lose"].tolist() == ["0%", "50%"]


def test_a_method_is_not_tried_on_the_sets_that_are_too_wide_for_it():
    options = argparse.Namespace(
        seeds=1,
        sets=["Adult", "MNIST"],
        noises=["uniform"],
        methods=["cleanlab, boosting", "loss"],
    )
    assert [*gain.todo(options, pd.DataFrame())] == [
        ("Adult", "uniform", 0, ["cleanlab, boosting", "loss"]),
        ("MNIST", "uniform", 0, ["loss"]),
    ]
