"""MeanRank against ranks counted by hand, and refusals of its parts."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression

from skinfluence import InfluenceCleaner, SGDInfluenceRegressor
from skinfluence.exceptions import NotRecordedError
from skinfluence.scorers import (
    KNNShapley,
    MeanRank,
    ProbabilityMargin,
    Random,
    SGDInfluence,
    get_scorer,
)
from tests.scorers.problems import binary, mlp


def ranks(scores):
    """Count for each score those below it and half of its equals."""
    return [
        1 + sum(b < a for b in scores) + (sum(b == a for b in scores) - 1) / 2
        for a in scores
    ]


def test_is_the_mean_of_the_ranks():
    def first(estimator, X, y, X_val, y_val):
        return X[:, 0]

    def ties(estimator, X, y, X_val, y_val):
        return np.round(100 * X[:, 1])

    X, *rest = binary()
    X[:6, 1] = 0.5
    found = MeanRank([first, ties, KNNShapley(3)])(LogisticRegression(), X, *rest)
    third = KNNShapley(3)(LogisticRegression(), X, *rest)
    parts = [ranks(X[:, 0]), ranks(np.round(100 * X[:, 1])), ranks(third)]
    np.testing.assert_allclose(found, np.mean(parts, axis=0), rtol=1e-14)


def test_by_default_one_run_gives_influence_and_margin():
    X, y, X_val, y_val = binary()
    weights = np.linspace(0.5, 2, len(y_val))
    clf = mlp().fit(X, y)
    influence = SGDInfluence("path")(clf, X, y, X_val, y_val, sample_weight_val=weights)
    expected = np.mean([ranks(influence), ranks(ProbabilityMargin()(clf))], axis=0)
    found = MeanRank()(clf, X, y, X_val, y_val, sample_weight_val=weights)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("scorers", [None, {"influence": "influence", "m": "margin"}])
def test_the_query_is_that_of_the_influence(scorers):
    data = binary()
    clf = mlp().fit(*data[:2])
    # By name, the influence is that of its own default, at all epochs.
    influence = SGDInfluence("epochs" if scorers else "path", query="error")
    margin = get_scorer("margin") if scorers else ProbabilityMargin()
    expected = np.mean([ranks(influence(clf, *data)), ranks(margin(clf, *data))], 0)
    found = MeanRank(scorers, query="error")(clf, *data)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert not np.allclose(found, MeanRank(scorers)(clf, *data))


def test_the_cleaner_asks_held_out_samples_for_the_error():
    X, y, X_val, y_val = binary()
    cleaner = InfluenceCleaner(mlp(), scorer="mean_rank", n_remove=3, random_state=0)
    assert cleaner.fit(X, y).query_ == "error"
    assert cleaner.fit(X, y, X_val=X_val, y_val=y_val).query_ == "loss"


def test_parts_are_given_as_to_the_cleaner():
    data = binary()
    detector = IsolationForest(random_state=0)
    clf = LogisticRegression().fit(*data[:2])
    named = MeanRank({"a": "loss", "b": detector, "c": Random(random_state=3)})
    expected = [
        ranks(get_scorer(part)(clf, *data))
        for part in ("loss", detector, Random(random_state=3))
    ]
    np.testing.assert_allclose(named(clf, *data), np.mean(expected, axis=0))
    assert not hasattr(detector, "offset_")


def test_the_cleaner_gives_it_a_seed_of_its_own():
    data = binary()
    scorer = MeanRank(["random"])
    cleaners = [
        InfluenceCleaner(mlp(), scorer=scorer, n_remove=3, random_state=s).fit(*data)
        for s in (0, 0, 1)
    ]
    first, again, other = (cleaner.influence_ for cleaner in cleaners)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert scorer.random_state is None
    assert isinstance(clone(MeanRank([Random(), "loss"])).scorers[0], Random)


def never(*args, **options):
    raise AssertionError("work was begun")


@pytest.mark.parametrize(
    ("scorers", "estimator", "error", "message"),
    [
        (None, LogisticRegression(), TypeError, "`influence` for the scorer 'influen"),
        (None, mlp(record=None), NotRecordedError, "'influence', got record=None"),
        (None, SGDInfluenceRegressor(), TypeError, "classifier for .*'probability_m"),
        ([never, "margin"], LinearRegression(), TypeError, "classifier for .*'margin'"),
        ("loss", mlp(), ValueError, "`scorers` must be a sequence .*got 'loss'"),
        ([], mlp(), ValueError, "`scorers` must be a sequence of at least one"),
        (["loss", "loss"], mlp(), ValueError, "`scorers` must have distinct names"),
        ([never, "lost"], mlp(), ValueError, "`scorer` must be one of .*got 'lost'"),
        ([never, 3], mlp(), TypeError, "`scorer` must be one of .*got 3"),
    ],
)
def test_refuses_what_its_parts_refuse(scorers, estimator, error, message):
    with pytest.raises(error, match=message):
        MeanRank(scorers).check_estimator(estimator)
    with pytest.raises(error, match=message):
        MeanRank(scorers)(estimator, *binary())


def test_data_that_a_later_part_needs_is_asked_for_before_any_work():
    X, y, *_ = binary()
    with pytest.raises(ValueError, match=r"`X_val` must be given .*'knn_shapley'"):
        MeanRank([never, "knn_shapley"])(LogisticRegression(), X, y)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros(24), "`scorer` must distinguish the training samples, but all 24"),
        (np.full(24, np.nan), r"an array of shape \(24,\) without NaN"),
        (np.arange(3.0), r"of shape \(24,\) without NaN, got shape \(3,\)"),
    ],
)
def test_refuses_a_part_that_ranks_nothing(scores, message):
    clf = LogisticRegression().fit(*binary()[:2])

    def part(estimator, X, y, X_val, y_val):
        return scores

    with pytest.raises(ValueError, match=message):
        MeanRank(["loss", part])(clf, *binary())
