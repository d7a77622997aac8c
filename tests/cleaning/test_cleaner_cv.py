"""The number by cross-validation: a grid search that ranks each fold once."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, KFold

from skinfluence import SGDInfluenceRegressor
from skinfluence.cleaning import InfluenceCleaner, InfluenceCleanerCV
from tests.cleaning.counting import CountingInfluence
from tests.cleaning.problems import flipped_blobs, quick

COUNTS = [0, 4, 0.1, 0.3]


@pytest.fixture(scope="module")
def blobs():
    return flipped_blobs(n_samples=121)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "scoring", "given"),
    [
        ({}, None, False),
        ({"n_runs": 2, "refit": "counterfactual"}, "neg_log_loss", True),
    ],
)
def test_equals_a_grid_search_with_one_ranking_a_fold(
    blobs, tmp_path, options, scoring, given
):
    X, y, _, X_val, y_val = blobs
    validation = {"X_val": X_val, "y_val": y_val} if given else {}
    weights = np.linspace(0.5, 2, len(y))
    options = {**options, "random_state": 5}
    grid = GridSearchCV(
        InfluenceCleaner(quick(), **options),
        {"n_remove": COUNTS},
        cv=3,
        scoring=scoring,
    ).fit(X, y, sample_weight=weights, **validation)
    cleaner = InfluenceCleanerCV(
        quick(), n_removes=COUNTS, cv=3, scoring=scoring, **options
    ).fit(X, y, sample_weight=weights, **validation)
    for name in ("mean_test_score", "std_test_score", "split2_test_score"):
        expected = grid.cv_results_[name]
        np.testing.assert_allclose(cleaner.cv_results_[name], expected, rtol=1e-6)
    assert cleaner.cv_results_["n_remove"].tolist() == COUNTS
    assert cleaner.n_remove_ == grid.best_params_["n_remove"]
    assert cleaner.best_score_ == pytest.approx(grid.best_score_)
    best = grid.best_estimator_
    assert np.array_equal(cleaner.removed_indices_, best.removed_indices_)
    assert np.array_equal(cleaner.predict_proba(X), best.predict_proba(X))


def test_ranks_each_fold_once(blobs, tmp_path):
    X, y, *_ = blobs
    scorer = CountingInfluence(tmp_path)
    options = {"n_removes": COUNTS, "cv": 3, "scorer": scorer}
    InfluenceCleanerCV(quick(), **options).fit(X, y)
    # By five runs.
    assert len(list(tmp_path.iterdir())) == 5 * (3 + 1)


def test_the_first_of_the_best_wins(blobs):
    X, y, *_ = blobs
    cleaner = InfluenceCleanerCV(
        quick(), n_removes=[5, 0, 2], cv=2, scoring=lambda *data: 1.0
    ).fit(X, y)
    assert cleaner.n_remove_ == 5
    assert cleaner.n_removed_ == 5


def test_the_fewest_within_a_standard_error(blobs):
    X, y, *_ = blobs
    accuracies = iter([0.80, 0.93, 0.94, 0.80, 0.89, 0.90])  # of two folds
    cleaner = InfluenceCleanerCV(
        quick(),
        n_removes=[0, 2, 5],
        cv=2,
        scoring=lambda *data: next(accuracies),
        rule="one_standard_error",
    ).fit(X, y)
    assert cleaner.n_remove_ == 2
    assert cleaner.best_score_ == pytest.approx(0.91)


def test_a_count_that_empties_a_class_cannot_win():
    X = np.arange(40.0)[:, None].astype(np.float32) % 7
    y = np.array([1] * 8 + [0] * 32)

    def ones_first(estimator, X, y, X_val, y_val):
        return -y.astype(float)

    cleaner = InfluenceCleanerCV(
        quick(), n_removes=[6, 2], cv=2, scorer=ones_first, random_state=0
    ).fit(X, y, X[::3], y[::3])
    assert np.isnan(cleaner.cv_results_["mean_test_score"]).tolist() == [True, False]
    assert cleaner.n_remove_ == 2
    cleaner.set_params(n_removes=[4, 6])
    with pytest.raises(ValueError, match=r"but none of \[4, 6\] does. Include 0"):
        cleaner.fit(X, y, X[::3], y[::3])
    assert cleaner.n_remove_ == 2


def test_a_regressor_with_a_splitter():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3)).astype(np.float32)
    y = X @ [1.0, -1.0, 0.5]
    y[:9] += 10
    reg = SGDInfluenceRegressor("linear", random_state=0)
    cleaner = InfluenceCleanerCV(
        reg, n_removes=(0, 0.1), cv=KFold(3, shuffle=True, random_state=0)
    ).fit(X, y, X[50:], y[50:])
    assert cleaner.n_remove_ == 0.1
    assert sorted(cleaner.removed_indices_) == list(range(9))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_removes": []}, ValueError, "`n_removes` must hold at least one number"),
        ({"n_removes": 3}, ValueError, "'n_removes' parameter of InfluenceCleanerCV"),
        ({"n_removes": [0, 100]}, ValueError, r"number of samples \(60\), got 100"),
        ({"n_removes": [0, None]}, TypeError, "must be a count .* got None"),
        ({"rule": "first"}, ValueError, "The 'rule' parameter of InfluenceCleanerCV"),
        (
            {
                "rule": "one_standard_error",
                "cv": [(list(range(30)), list(range(30, 60)))],
            },
            ValueError,
            "`cv` must have at least two folds with rule='one_standard_error', got one",
        ),
        ({"scoring": "acuracy"}, ValueError, "'scoring' parameter"),
    ],
)
def test_refuses_bad_input(blobs, options, error, message):
    X, y, *_ = blobs
    cleaner = InfluenceCleanerCV(quick(), cv=2).set_params(**options)
    with pytest.raises(error, match=message):
        cleaner.fit(X, y)
    assert not [name for name in vars(cleaner) if name.endswith("_")]
