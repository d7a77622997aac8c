"""The mean over the runs, their seeds, and what a scorer may return."""

import warnings
from functools import partial

import numpy as np
import pytest
from scipy.stats import sem, t
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.cleaning import InfluenceCleaner, InfluenceCleanerCV
from skinfluence.cleaning._ranking import with_seed, without_exploded
from skinfluence.estimators import SmoothHinge
from skinfluence.exceptions import InfluenceReliabilityWarning
from skinfluence.scorers import Outlier, Random, SGDInfluence
from tests.cleaning.problems import flipped_blobs, quick


@pytest.fixture(scope="module")
def blobs():
    return flipped_blobs()


def test_validation_data_ranks_by_the_estimators_influence(blobs):
    X, y, _, X_val, y_val = blobs
    weights = np.linspace(1, 3, len(y_val))
    for at in ("final", "path"):
        cleaner = InfluenceCleaner(quick(), at=at, last_epochs=3)
        cleaner.fit(X, y, X_val, y_val, sample_weight_val=weights)
        expected = (
            quick()
            .fit(X, y)
            .influence(X_val, y_val, sample_weight_val=weights, at=at, last_epochs=3)
        )
        assert np.array_equal(cleaner.influence_, expected)
        assert cleaner.query_ == "loss"
    assert np.array_equal(cleaner.ranking_, expected.argsort(kind="stable"))


def test_a_fraction_is_set_apart_and_not_ranked(blobs):
    X, y, *_ = blobs
    cleaner = InfluenceCleaner(quick(), validation_fraction=0.25, random_state=1)
    cleaner.fit(X, y)
    apart = np.flatnonzero(np.isnan(cleaner.influence_))
    assert len(apart) == 30
    train = np.setdiff1d(np.arange(len(y)), apart)
    clf = quick().fit(X[train], y[train])
    # Wrong labels are among these samples as well.
    expected = clf.influence(X[apart], y[apart], query="error", at="epochs")
    assert cleaner.query_ == "error"
    assert np.array_equal(cleaner.influence_[train], expected)
    assert cleaner.support_[apart].all()
    assert set(cleaner.ranking_[-30:]) == set(apart)


@pytest.mark.parametrize("kind", [InfluenceCleaner, InfluenceCleanerCV])
def test_asks_what_it_is_told_to(blobs, kind):
    X, y, *_ = blobs
    options = {"cv": 2, "random_state": 0}
    found = {
        query: kind(quick(), query=query, **options).fit(X, y).influence_
        for query in ("auto", "error", "loss")
    }
    np.testing.assert_array_equal(found["auto"], found["error"])
    assert not np.array_equal(found["auto"], found["loss"], equal_nan=True)


@pytest.mark.parametrize(
    "kind",
    [InfluenceCleaner, partial(InfluenceCleanerCV, n_removes=[0, 0.1], cv=2)],
    ids=["cleaner", "cv"],
)
def test_smooths_kinks_as_the_scorer_does(blobs, kind):
    X, y, _, X_val, y_val = blobs
    relu = SGDInfluenceClassifier(module__activation="relu", random_state=0)
    exact, found, same = (
        kind(relu, random_state=0, **options).fit(X, y, X_val, y_val).influence_
        for options in (
            {},
            {"smoothing": 0.2},
            {"scorer": SGDInfluence(smoothing=0.2)},
        )
    )
    np.testing.assert_array_equal(found, same)
    assert not np.array_equal(found, exact)


@pytest.mark.parametrize("action", ["relabel", "reweight"])
def test_every_action_smooths_kinks(blobs, action):
    X, y, _, X_val, y_val = blobs
    relu = SGDInfluenceClassifier(module__activation="relu", random_state=0)
    found, same = (
        InfluenceCleaner(relu, action=action, n_rounds=2, random_state=0, **options)
        .fit(X, y, X_val, y_val)
        .influence_
        for options in (
            {"smoothing": 0.2},
            {"scorer": SGDInfluence(smoothing=0.2)},
        )
    )
    np.testing.assert_array_equal(found, same)


@pytest.mark.parametrize("scorer", ["loss", "exact", SGDInfluence("path")])
def test_no_smoothing_where_the_scorer_would_leave_it_out(blobs, monkeypatch, scorer):
    X, y, *_ = blobs
    monkeypatch.setattr(
        SGDInfluenceClassifier, "fit", lambda self, *data: pytest.fail("work")
    )
    cleaner = InfluenceCleaner(quick(), scorer=scorer, smoothing="auto")
    with pytest.raises(
        ValueError, match=r"`smoothing` must be None with scorer=.*, got 'auto'"
    ):
        cleaner.fit(X, y)


@pytest.mark.parametrize(
    "estimator",
    [quick(criterion=SmoothHinge), SGDInfluenceRegressor(lr=0.01, random_state=0)],
    ids=["hinge", "regressor"],
)
def test_asks_for_the_loss_where_there_are_no_probabilities(blobs, estimator):
    X, y, *_ = blobs
    two = y < 2
    X, y = X[two], y[two]
    cleaner = InfluenceCleaner(estimator, random_state=0).fit(X, y)
    assert cleaner.query_ == "loss"
    cleaner.set_params(query="error")
    with pytest.raises(ValueError, match="'error' only where the outputs are prob"):
        cleaner.fit(X, y)


def test_cross_influence_is_the_mean_over_the_folds(blobs):
    X, y, *_ = blobs
    weights = np.linspace(0.5, 2, len(y))
    cleaner = InfluenceCleaner(quick(), cv=3, random_state=0)
    cleaner.fit(X, y, sample_weight=weights)
    total, count = np.zeros(len(y)), np.zeros(len(y))
    for train, rows in StratifiedKFold(3).split(X, y):
        clf = quick().fit(X[train], y[train], sample_weight=weights[train])
        total[train] += clf.influence(
            X[rows],
            y[rows],
            sample_weight_val=weights[rows],
            query="error",
            at="epochs",
        )
        count[train] += 1
    assert set(count) == {2}
    np.testing.assert_allclose(cleaner.influence_, total / count, rtol=1e-12)


def test_several_runs_are_averaged(blobs):
    X, y, _, X_val, y_val = blobs
    one = InfluenceCleaner(quick(random_state=7), random_state=3)
    many = InfluenceCleaner(quick(random_state=7), random_state=3, n_runs=3)
    one.fit(X, y, X_val, y_val)
    many.fit(X, y, X_val, y_val)
    # The first run keeps the seed that the user gave; the others have their own.
    first = quick(random_state=7).fit(X, y).influence(X_val, y_val, at="epochs")
    assert np.array_equal(one.influence_, first)
    # Seeds are drawn one after the other: for the split, the last fit, and each run.
    seeds = np.random.RandomState(3).randint(np.iinfo(np.int32).max, size=5)[3:]
    scores = [first]
    for seed in seeds:
        own = np.random.RandomState(seed).randint(np.iinfo(np.int32).max)
        clf = quick(random_state=int(own)).fit(X, y)
        scores.append(clf.influence(X_val, y_val, at="epochs"))
    assert not np.array_equal(scores[1], scores[2])
    np.testing.assert_allclose(many.influence_, np.mean(scores, axis=0), rtol=1e-12)
    np.testing.assert_allclose(many.standard_error_, sem(scores), rtol=1e-9)
    same = np.sign(scores) == np.sign(np.mean(scores, axis=0))
    assert np.array_equal(many.over_runs_.sign_agreement, same.mean(axis=0))
    assert np.isnan(one.standard_error_).all()
    assert (one.over_runs_.sign_agreement == 1).all()
    assert "standard_error" not in one.to_frame()
    frame = many.to_frame().sort_index()
    assert list(frame.columns[:4]) == [
        "score",
        "standard_error",
        "sign_agreement",
        "label",
    ]
    assert np.array_equal(frame["standard_error"], many.standard_error_)
    assert np.array_equal(frame["sign_agreement"], same.mean(axis=0))


def test_runs_and_folds_together(blobs):
    X, y, *_ = blobs
    cleaner = InfluenceCleaner(quick(), cv=3, n_runs=2, random_state=3).fit(X, y)
    seed = np.random.RandomState(3).randint(np.iinfo(np.int32).max, size=4)[3]
    own = int(np.random.RandomState(seed).randint(np.iinfo(np.int32).max))
    scores = []
    for state in (0, own):
        for train, rows in StratifiedKFold(3).split(X, y):
            clf = quick(random_state=state).fit(X[train], y[train])
            scores.append(np.full(len(y), np.nan))
            options = {"query": "error", "at": "epochs"}
            scores[-1][train] = clf.influence(X[rows], y[rows], **options)
    np.testing.assert_allclose(cleaner.influence_, np.nanmean(scores, 0), rtol=1e-12)
    np.testing.assert_allclose(
        cleaner.standard_error_, sem(scores, nan_policy="omit"), rtol=1e-9
    )


def test_a_run_with_an_exploded_derivative_is_left_out(blobs):
    X, y, _, X_val, y_val = blobs
    sizes = iter([1.0, 1000.0, 1.0])

    def scorer(estimator, X, y, X_val, y_val):
        return next(sizes) * np.linspace(-1, 1, len(X))

    cleaner = InfluenceCleaner(quick(), scorer=scorer, n_runs=3, random_state=0)
    with pytest.warns(InfluenceReliabilityWarning, match="In 1 of the 3 runs"):
        cleaner.fit(X, y, X_val, y_val)
    np.testing.assert_allclose(cleaner.influence_, np.linspace(-1, 1, len(X)))
    assert cleaner.over_runs_.n_used.tolist() == [2] * len(X)


@pytest.mark.parametrize(
    ("sizes", "left_out"),
    [
        ([1.0, 1.2, 0.9, 1e3, 1e5], [3, 4]),
        # A single validation sample each: the sizes are those of their losses.
        ([1e-4, 1e-3, 1e-2, 0.1, 1.0], []),
        ([1.0, 1e3], []),
        ([0.0, 0.0, 1.0], []),
    ],
    ids=["exploded", "spread", "two", "zero"],
)
def test_which_runs_have_exploded(sizes, left_out):
    scores = np.array(sizes)[:, None] * np.linspace(-1, 1, 8)
    # Under labels that a run does not know it is infinite.
    for given in scores, np.stack([scores, np.full_like(scores, np.inf)], axis=2):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = without_exploded(given)
        assert [warning.category for warning in told] == (
            [InfluenceReliabilityWarning] if left_out else []
        )
        expected = given.copy()
        expected[left_out] = np.nan
        np.testing.assert_array_equal(found, expected)


def test_samples_of_which_no_run_is_left_cannot_be_removed(blobs):
    X, y, *_ = blobs
    sizes = iter([1.0, 1000.0, 1.0])

    def scorer(estimator, X, y, X_val, y_val):
        return next(sizes) * np.linspace(-1, 1, len(X))

    parts = np.arange(120).reshape(3, 40)
    cv = [(part, parts[number - 1]) for number, part in enumerate(parts)]
    cleaner = InfluenceCleaner(quick(), scorer=scorer, cv=cv, n_remove=90)
    with (
        pytest.warns(InfluenceReliabilityWarning, match="In 1 of the 3 runs"),
        pytest.raises(ValueError, match=r"samples that are ranked \(80; "),
    ):
        cleaner.fit(X, y)


def test_samples_that_no_run_used_have_neither_mean_nor_spread(blobs):
    X, y, *_ = blobs
    options = {"validation_fraction": 0.2, "n_runs": 2, "random_state": 0}
    cleaner = InfluenceCleaner(quick(), **options).fit(X, y)
    apart = np.isnan(cleaner.influence_)
    assert apart.sum() == 24
    assert np.array_equal(np.isnan(cleaner.standard_error_), apart)
    assert np.array_equal(cleaner.over_runs_.n_used, np.where(apart, 0, 2))


@pytest.mark.slow
def test_auto_removes_only_where_the_runs_agree(blobs):
    X, y, _, X_val, y_val = blobs
    drift = iter(np.tile([0.0, 3.0], 20))

    def scorer(estimator, X, *data):
        # The first 20 samples harm every run, the next 60 only every other one.
        scores = np.linspace(1, 2, len(X))
        scores[:20] = -2 - scores[:20]
        scores[20:80] = next(drift) - 2
        return scores

    options = {"scorer": scorer, "random_state": 0, "n_remove": "auto"}
    cleaner = InfluenceCleaner(quick(), n_runs=2, **options).fit(X, y, X_val, y_val)
    assert (cleaner.influence_ < 0).sum() == 80
    sure = cleaner.influence_ + t.ppf(0.95, 1) * cleaner.standard_error_ < 0
    assert np.flatnonzero(sure).tolist() == [*range(20)]
    assert set(cleaner.removed_indices_) <= set(range(20))


@pytest.mark.slow
def test_runs_can_be_searched_over_in_a_pipeline(blobs, tmp_path):
    X, y, *_ = blobs
    pipeline = make_pipeline(
        StandardScaler(),
        InfluenceCleaner(quick(), n_remove=10, memory=tmp_path, random_state=0),
    )
    grid = {"influencecleaner__n_runs": [1, 3]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    for n_runs, score in zip(
        [1, 3], search.cv_results_["mean_test_score"], strict=True
    ):
        alone = clone(pipeline).set_params(
            influencecleaner__n_runs=n_runs, influencecleaner__memory=None
        )
        assert cross_val_score(alone, X, y, cv=2).mean() == score


def test_tells_where_all_runs_start_from_the_same_weights(blobs):
    X, y, _, X_val, y_val = blobs
    clf = SGDInfluenceClassifier(nn.Linear(4, 3), max_epochs=2, random_state=0)
    cleaner = InfluenceCleaner(clf, n_runs=2, random_state=0)
    with pytest.warns(UserWarning, match="All runs start from the same weights"):
        cleaner.fit(X, y, X_val, y_val)
    # A single run has nothing to be compared with.
    cleaner.set_params(n_runs=1).fit(X, y, X_val, y_val)


def test_processes_give_the_same_scores(blobs):
    X, y, _, X_val, y_val = blobs
    found = [
        InfluenceCleaner(quick(), n_runs=3, random_state=0, n_jobs=n_jobs).fit(
            X, y, X_val, y_val
        )
        for n_jobs in (1, 2)
    ]
    for name in ("scores", "mean", "standard_error", "sign_agreement"):
        assert np.array_equal(*(getattr(each.over_runs_, name) for each in found))


def test_seeds_fill_in_what_is_none():
    assert with_seed(SGDInfluenceClassifier(random_state=4), 0).random_state == 4
    filled = with_seed(SGDInfluenceClassifier(), 0).random_state
    assert filled == with_seed(SGDInfluenceClassifier(), 0).random_state
    assert filled != with_seed(SGDInfluenceClassifier(), 1).random_state
    always = with_seed(SGDInfluenceClassifier(random_state=4), 0, always=True)
    assert always.random_state == filled
    nested = with_seed(Outlier(IsolationForest()), 0)
    assert nested.detector.random_state is not None
    parts = make_pipeline(IsolationForest(), IsolationForest(random_state=2))
    states = with_seed(parts, 0).get_params()
    assert states["isolationforest-2__random_state"] == 2
    assert with_seed(len, 0) is len
    assert with_seed(Random(), 5).random_state is not None


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros(3), r"shape \(120,\) without NaN, got shape \(3,\) with 0 NaN"),
        (np.full(120, np.nan), r"got shape \(120,\) with 120 NaN"),
        (np.zeros((120, 2)), r"got shape \(120, 2\)"),
        (np.full(120, 0.25), r"training samples, but all 120 have the score 0\.25"),
    ],
)
def test_refuses_scores_that_are_not_one_number_each(blobs, scores, message):
    X, y, _, X_val, y_val = blobs
    cleaner = InfluenceCleaner(quick(), scorer=lambda *data: scores)
    with pytest.raises(ValueError, match=message):
        cleaner.fit(X, y, X_val, y_val)


def test_a_function_is_a_scorer(blobs):
    X, y, _, X_val, y_val = blobs
    seen = []

    def scorer(estimator, *data):
        seen.extend([estimator.n_features_in_, *map(len, data)])
        return -np.arange(len(data[0]))

    cleaner = InfluenceCleaner(quick(), n_remove=3, scorer=scorer)
    cleaner.fit(X, y, X_val, y_val)
    assert seen == [4, 120, 120, 40, 40]
    assert cleaner.removed_indices_.tolist() == [119, 118, 117]


@pytest.mark.parametrize("scorer", ["random", IsolationForest(n_estimators=5)])
def test_scorers_without_a_seed_get_one(blobs, scorer):
    X, y, _, X_val, y_val = blobs
    found = [
        InfluenceCleaner(quick(), scorer=scorer, random_state=seed)
        .fit(X, y, X_val, y_val)
        .influence_
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
