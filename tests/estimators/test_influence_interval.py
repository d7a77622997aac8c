"""Intervals for the true influence in a fresh run."""

import numpy as np
import pytest
from sklearn.base import clone
from torch import nn

from skinfluence import SGDInfluenceClassifier, influence_interval, influence_over_runs
from skinfluence.estimators import ScoresOverRuns
from skinfluence.estimators._questions.influence_interval import calibrated
from skinfluence.exceptions import InfluenceReliabilityWarning
from tests.cleaning.problems import flipped_blobs, quick


@pytest.fixture(scope="module")
def blobs():
    X, y, _, X_val, y_val = flipped_blobs()
    return quick().fit(X, y), X, y, X_val, y_val


@pytest.mark.slow
def test_the_interval_is_that_of_runs_fitted_by_hand(blobs):
    clf, X, y, X_val, y_val = blobs
    found = influence_interval(
        clf, X_val, y_val, level=0.8, n_runs=3, n_samples=len(y), random_state=3
    )
    seeds = np.random.RandomState(3).randint(2**31 - 1, size=2)
    runs = [clf, *(clone(clf).set_params(random_state=int(s)).fit(X, y) for s in seeds)]
    scores = np.array([run.influence(X_val, y_val) for run in runs])
    exact = np.array([run.counterfactual_influence(X_val, y_val) for run in runs])

    def center_and_scale(estimates):
        mean, spread = estimates.mean(axis=0), estimates.std(axis=0, ddof=1)
        return mean, np.abs(mean) + spread + np.median(spread) / 2

    residuals = []
    for run in range(3):
        mean, scale = center_and_scale(np.delete(scores, run, axis=0))
        residuals.extend(np.abs(exact[run] - mean) / scale)
    n = 3 * len(y)
    quantile = np.sort(residuals)[int(np.ceil((n + 1) * 0.8)) - 1]
    mean, scale = center_and_scale(scores)
    expected = np.stack([mean - quantile * scale, mean + quantile * scale], axis=1)
    assert found.n_verified == n
    np.testing.assert_allclose(found.influence, mean, rtol=1e-9)
    # The true changes are differences of losses in single precision.
    assert (1e-3 * quantile * scale >= np.abs(found.interval - expected).T).all()


def test_the_estimates_are_those_over_runs(blobs):
    clf, _, _, X_val, y_val = blobs
    asked = {"n_runs": 3, "random_state": 0, "at": "path"}
    found = influence_interval(clf, X_val, y_val, n_samples=4, **asked)
    runs = influence_over_runs(clf, X_val, y_val, **asked)
    np.testing.assert_array_equal(found.runs.scores, runs.scores)
    np.testing.assert_array_equal(found.influence, runs.mean)


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_intervals_hold_the_true_changes_of_fresh_runs(level):
    # Estimates with an error of their own, and true changes that vary over the runs;
    # both with heavy tails.
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        common = rng.standard_t(3, 40)
        scores = common + 0.5 * rng.standard_t(3, (6, 40))
        changes = 0.7 * common + 0.3 * rng.standard_t(3, 40) + 0.5 * scores
        verified = np.where(rng.random((5, 40)) < 0.5, changes[:5], np.nan)
        found = calibrated(ScoresOverRuns.of(scores[:5]), verified, level, 1.0)
        low, high = found.interval.T
        held.append(((low <= changes[5]) & (changes[5] <= high)).mean())
    # The standard error over the 300 is 0.005 (below); the mean of five runs is better
    # than that of the four which residuals are taken of.
    assert np.std(held) / 300**0.5 < 0.006
    assert level - 0.02 < np.mean(held) < level + 0.035


def test_no_interval_where_the_runs_are_chaotic():
    scores = np.random.default_rng(0).normal(size=(3, 20))
    runs = ScoresOverRuns.of(scores)
    with pytest.warns(InfluenceReliabilityWarning, match="metasmoothness of 0.20"):
        found = calibrated(runs, scores, 0.9, 0.2)
    assert np.isnan(found.interval).all()
    np.testing.assert_array_equal(found.influence, runs.mean)


def test_samples_that_no_run_used_have_no_interval():
    scores = np.random.default_rng(0).normal(size=(3, 20))
    scores[:, 4] = np.nan
    found = calibrated(ScoresOverRuns.of(scores), scores, 0.9, 1.0)
    assert np.isnan(found.interval[4]).all()
    assert np.isfinite(np.delete(found.interval, 4, axis=0)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 1.0}, "`level` must be a number between 0 and 1"),
        ({"level": 90}, "`level` must be a number between 0 and 1, .* got 90"),
        ({"n_runs": 2}, "`n_runs` must be an integer of at least 3, got 2"),
        ({"n_samples": 0}, "`n_samples` must be an integer of at least 1, got 0"),
        (
            {"level": 0.9, "n_runs": 4, "n_samples": 2},
            "`n_runs` times `n_samples` must be at least 9 for level=0.9, got 8",
        ),
        ({"level": 0.999}, "must be at least 999 for level=0.999, got 100"),
        ({"smoothing": -1.0}, "`smoothing` must be"),
    ],
)
def test_bad_input_is_refused_before_any_training(blobs, options, message, monkeypatch):
    clf, _, _, X_val, y_val = blobs
    monkeypatch.setattr(SGDInfluenceClassifier, "_train_again", None)
    with pytest.raises(ValueError, match=message):
        influence_interval(clf, X_val, y_val, **options)


def test_only_estimators_that_record():
    with pytest.raises(TypeError, match="`estimator` must be an SGDInfluence"):
        influence_interval(object(), np.zeros((2, 2)), np.zeros(2))


def test_exact_zeros_that_are_right_count_as_right():
    zeros = np.zeros((3, 20))
    found = calibrated(ScoresOverRuns.of(zeros), zeros, 0.9, 1.0)
    assert found.n_verified == 60
    np.testing.assert_array_equal(found.interval, np.zeros((20, 2)))


def test_changes_where_all_estimates_are_zero_are_not_left_out():
    # A quarter of the true changes is beyond every interval of a finite width.
    scores = np.random.default_rng(0).normal(size=(3, 20))
    scores[:, :15] = 0.0
    exact = np.zeros((3, 20))
    exact[:, :5] = 1.0
    runs = ScoresOverRuns.of(scores)
    assert np.isinf(calibrated(runs, exact, 0.9, 1.0).interval).all()
    assert np.isfinite(calibrated(runs, exact, 0.7, 1.0).interval).all()


def test_runs_that_are_all_the_same_are_refused(blobs):
    _, X, y, X_val, y_val = blobs
    clf = SGDInfluenceClassifier(
        nn.Linear(4, 3), shuffle=False, max_epochs=2, random_state=0
    ).fit(X, y)
    with (
        pytest.warns(UserWarning, match="start from the same weights"),
        pytest.raises(ValueError, match="runs must differ"),
    ):
        influence_interval(clf, X_val, y_val, n_runs=3, n_samples=3)
