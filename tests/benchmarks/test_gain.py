"""What the benchmark of cleaning's gain measures, on data that is told apart easily."""

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
