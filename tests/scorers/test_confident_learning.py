"""ConfidentLearning against cleanlab called directly."""

import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import (
    ShuffleSplit,
    StratifiedKFold,
    cross_val_predict,
)

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.datasets import flip_labels
from skinfluence.scorers import ConfidentLearning, get_scorer

LOGREG = LogisticRegression(max_iter=1000)
NAMES = np.array(["c", "a", "b"])


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    y, flips = flip_labels(y, 0.1, random_state=0)
    return X, y, flips


@pytest.fixture(scope="module")
def cleanlab():
    return pytest.importorskip("cleanlab")


@pytest.mark.parametrize(
    "method", ["self_confidence", "normalized_margin", "confidence_weighted_entropy"]
)
@pytest.mark.parametrize("filter_by", [None, "prune_by_noise_rate", "both"])
def test_scores_are_cleanlabs(iris, cleanlab, method, filter_by):
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    X, y, flips = iris
    cv = StratifiedKFold(3, shuffle=True, random_state=1)
    likely = cross_val_predict(LOGREG, X, y, cv=cv, method="predict_proba")
    expected = get_label_quality_scores(y, likely, method=method)
    scores = ConfidentLearning(method, filter_by=filter_by, cv=cv)(LOGREG, X, y)
    if filter_by is not None:
        issues = find_label_issues(y, likely, filter_by=filter_by, n_jobs=1)
        assert flips[issues].mean() > 0.7
        assert scores[issues].max() < scores[~issues].min()
        expected = expected - issues
    np.testing.assert_array_equal(scores, expected)


def test_labels_may_have_any_names(iris, cleanlab):
    X, y, _ = iris
    scorer = ConfidentLearning(random_state=0)
    np.testing.assert_array_equal(
        scorer(LOGREG, X, np.array(["a", "b", "c"])[y]), scorer(LOGREG, X, y)
    )


@pytest.mark.parametrize("filter_by", [None, "both"])
def test_classes_that_the_estimator_was_told(iris, cleanlab, filter_by):
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    X, y, _ = iris
    # In another order than sorted, the last of them in no sample.
    clf = SGDInfluenceClassifier(
        "linear", classes=["c", "a", "b", "z"], max_epochs=5, random_state=0
    )
    cv = StratifiedKFold(3, shuffle=True, random_state=1)
    likely = np.zeros((len(y), 3))
    for train, test in cv.split(X, y):
        fitted = clone(clf).fit(X[train], NAMES[y[train]])
        likely[test] = fitted.predict_proba(X[test])[:, :3]
    expected = get_label_quality_scores(y, likely)
    if filter_by is not None:
        expected = expected - find_label_issues(
            y, likely, filter_by=filter_by, n_jobs=1
        )
    scores = ConfidentLearning(filter_by=filter_by, cv=cv)(clf, X, NAMES[y])
    np.testing.assert_array_equal(scores, expected)


def test_refuses_folds_that_do_not_hold_out_every_sample_once(iris, cleanlab):
    X, y, _ = iris
    cv = ShuffleSplit(3, test_size=50, random_state=0)
    with pytest.raises(ValueError, match="`cv` must hold out every sample exactly"):
        ConfidentLearning(cv=cv)(LOGREG, X, y)


@pytest.mark.parametrize("cv", ["kfold", [], np.array([1, 2])])
def test_refuses_what_makes_no_folds(iris, cleanlab, cv):
    X, y = iris[:2]
    with pytest.raises(ValueError, match="`cv` must split the samples into folds, got"):
        ConfidentLearning(cv=cv)(LOGREG, X, y)


def test_networks_are_fitted_anew_and_not_recorded(iris, cleanlab):
    X, y, _ = iris
    clf = SGDInfluenceClassifier("linear", max_epochs=3, random_state=0)
    seen = []

    class Watched(SGDInfluenceClassifier):
        def fit(self, X, y, **fit_params):
            seen.append((self.record, len(X)))
            return super().fit(X, y, **fit_params)

    watched = Watched("linear", max_epochs=3, random_state=0).fit(X, y)
    scorer = ConfidentLearning(cv=5, random_state=2)
    scores = scorer(watched, X, y)
    assert seen[1:] == [(None, 120)] * 5
    assert watched.trajectory_ is not None
    assert np.array_equal(scores, scorer(clf, X, y))


def test_says_what_is_lacking(iris, monkeypatch):
    scorer = get_scorer("confident_learning", at="path")
    assert isinstance(scorer, ConfidentLearning)
    with pytest.raises(TypeError, match=r"a classifier for .*'confident_learning'"):
        scorer.check_estimator(SGDInfluenceRegressor())
    with pytest.raises(TypeError, match="`predict_proba` for the scorer 'confident"):
        scorer.check_estimator(RidgeClassifier())
    with pytest.raises(ValueError, match=r"`method` must be one of .* got 'best'"):
        ConfidentLearning("best").check_estimator(LOGREG)
    with pytest.raises(ValueError, match=r"`filter_by` must be None or .* got 'all'"):
        ConfidentLearning(filter_by="all").check_estimator(LOGREG)
    # What Python looks at first, and finds that it cannot be imported.
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    with pytest.raises(ImportError, match="needs the package cleanlab, which is not"):
        scorer(LOGREG, *iris[:2])


def test_refuses_classes_with_too_few_samples_for_the_folds(iris, cleanlab):
    X, y, _ = iris
    rare = np.where(np.arange(150) < 2, "rare", NAMES[y])
    with pytest.raises(ValueError, match=r"got 5 folds and 2 samples of .*'rare'"):
        ConfidentLearning()(LOGREG, X, rare)
