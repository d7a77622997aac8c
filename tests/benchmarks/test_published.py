"""What the benchmark of published settings measures, on data that is easily told."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from benchmarks import published
from tests.cleaning.problems import flipped_blobs, quick


@pytest.fixture(scope="module")
def case():
    X, y, flips, _, _ = flipped_blobs(fraction=0.3)
    clf = quick(max_epochs=3, batch_size=60)
    return published.Case(clf, LogisticRegression(), X, y, flips, seed=0)


def test_the_lower_cluster_is_the_best_of_all_splits():
    rng = np.random.RandomState(0)
    scores = np.round(np.concatenate([rng.normal(0, 1, 20), rng.normal(4, 1, 9)]), 1)

    found = published.lower_cluster(scores)
    assert scores[found].max() < scores[~found].min()

    def within(mask):
        return sum(((s - s.mean()) ** 2).sum() for s in (scores[mask], scores[~mask]))

    cuts = [(a + b) / 2 for a, b in pairwise(np.unique(scores))]
    assert within(found) == pytest.approx(min(within(scores < cut) for cut in cuts))


def test_figures_of_a_ranking_that_knows_and_of_one_that_calls_nothing(case):
    truth = case.is_bad
    knows = published.Found(1.0 - truth, own=truth)
    rows = list(published.measured(case, lambda case: knows))
    assert [row["rule"] for row in rows] == ["two clusters", "its own"]
    assert all(row["F1"] == row["weighted F1"] == row["AP"] == 1 for row in rows)
    (row,) = published.measured(case, published.nothing)
    # Of the 70 % right ones precision is .7 and recall 1, of the others F1 is 0.
    assert row["F1"] == 0
    assert row["weighted F1"] == pytest.approx(0.7 * 2 * 0.7 / 1.7)


@pytest.mark.parametrize(
    "name", ["influence, five folds", "mean_loss", "data_oob, loss"]
)
def test_rankings_find_more_than_chance(case, name):
    # Chance would have an average precision of .3, with a standard deviation of .05.
    (row, *_) = published.measured(case, published.LABELS[name])
    assert row["AP"] > 0.5


def test_instance_noise_has_the_mean_of_its_truncated_normal():
    y = np.zeros(20_000, dtype=int)
    noisy, is_bad = published.by_instance(y, 0.1, seed=0)
    assert np.array_equal(noisy, is_bad)
    # Between 0 and 1 standard deviations: mean (φ(0) - φ(1)) / (Φ(1) - Φ(0)) = .460.
    # Four standard errors of the share are .01.
    assert is_bad.mean() == pytest.approx(0.1 + 0.1 * 0.460, abs=0.01)


def test_random_scores_know_nothing_of_the_noise():
    y, is_bad = published.uniform(np.arange(20_000) % 2, 0.2, seed=0)
    case = published.Case(None, None, y[:, None], y, is_bad, seed=0)
    (row,) = published.measured(case, published.random)
    # Half is called, of which .2 are wrong: F1 .2 / .7, with a standard error of .005.
    assert row["F1"] == pytest.approx(2 / 7, abs=0.02)


@pytest.mark.parametrize("noise", [published.uniform, published.asymmetric])
def test_other_noises_have_their_rate(noise):
    y = np.arange(20_000) % 2
    noisy, is_bad = noise(y, 0.4, seed=0)
    assert np.array_equal(noisy != y, is_bad)
    assert is_bad.mean() == pytest.approx(0.4, abs=0.014)  # four standard errors


def test_the_diabetes_rows_with_noise_are_those_that_changed():
    case = published.noisy_features(0)
    assert case.X.shape == (100, 10)
    assert case.is_bad.sum() == 10
    # Noise of 1 on features with a deviation of .05 stands out in every row.
    size = np.abs(case.X).max(axis=1)
    assert size[case.is_bad].min() > size[~case.is_bad].max()
    assert clone(case.net).fit(case.X, case.y).score(case.X, case.y) > -1
