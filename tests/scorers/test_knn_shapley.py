"""KNNShapley against the definition, over all subsets of a few samples."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from torch import nn

from skinfluence import SGDInfluenceClassifier
from skinfluence.estimators import represent
from skinfluence.scorers import KNNShapley, get_scorer
from tests.cases import Case
from tests.scorers.shapley import brute_force

KNN = KNeighborsClassifier()


@pytest.fixture
def few():
    rng = np.random.default_rng(3)
    y, y_val = rng.integers(3, size=8), rng.integers(3, size=5)
    return rng.normal(size=(8, 2)), y, rng.normal(size=(5, 2)), y_val


def probability(some, k, X, y, X_val, y_val, weights):
    """Return the mean share of the right label among the k neighbours in a set."""
    if not some:
        return 0.0
    some = np.array(some)
    shares = []
    for x, label in zip(X_val, y_val, strict=True):
        near = some[np.argsort(np.linalg.norm(X[some] - x, axis=1))[:k]]
        shares.append((y[near] == label).sum() / k)
    return np.average(shares, weights=weights)


@pytest.mark.parametrize("k", [1, 2, 5, 8, 11])
@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_those_of_the_definition(few, k, weighted):
    weights = np.array([0.5, 2, 0, 1, 1]) if weighted else None
    expected = brute_force(8, lambda some: probability(some, k, *few, weights))
    found = KNNShapley(k)(KNN, *few, sample_weight_val=weights)
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_values_sum_to_the_classifiers_probability(few):
    X, y, X_val, y_val = few
    clf = KNeighborsClassifier(3).fit(X, y)
    likely = clf.predict_proba(X_val)
    columns = np.searchsorted(clf.classes_, y_val)
    expected = likely[np.arange(len(y_val)), columns].mean()
    names = np.array(["a", "b", "c"])
    found = KNNShapley(3)(clf, X, names[y], X_val, names[y_val])
    assert found.sum() == pytest.approx(expected, abs=1e-14)


def test_features_are_input_or_representation():
    case = Case("cnn")
    X, y, _ = case.data()
    X_val, y_val = case.validation()
    clf = case.fitted()
    flat = [part.reshape(len(part), -1) for part in (X, X_val)]
    hidden = [represent(clf, part) for part in (X, X_val)]
    for features, (rows, rows_val) in {"input": flat, "representation": hidden}.items():
        found = KNNShapley(2, features=features)(clf, X, y, X_val, y_val)
        assert np.array_equal(found, KNNShapley(2)(clf, rows, y, rows_val, y_val))
    other = KNNShapley(2, metric="cityblock")(clf, X, y, X_val, y_val)
    assert not np.array_equal(other, KNNShapley(2)(clf, X, y, X_val, y_val))


@pytest.mark.parametrize(
    ("options", "estimator", "error", "message"),
    [
        ({"n_neighbors": 0}, KNN, ValueError, "`n_neighbors` must be .*got 0"),
        ({"n_neighbors": 2.5}, KNN, ValueError, "`n_neighbors` must be .*got 2.5"),
        ({"features": "pixels"}, KNN, ValueError, "`features` must be .*'pixels'"),
        ({}, KNeighborsRegressor(), TypeError, "a classifier for .*'knn_shapley'"),
        (
            {"features": "representation"},
            KNN,
            TypeError,
            "a network for features='representation' .*'knn_shapley', got KNeigh",
        ),
        (
            {"features": "representation"},
            SGDInfluenceClassifier(nn.Sequential(nn.ReLU())),
            TypeError,
            r"with a torch\.nn\.Linear .* got Sequential",
        ),
    ],
)
def test_says_what_is_lacking(options, estimator, error, message):
    with pytest.raises(error, match=message):
        KNNShapley(**options).check_estimator(estimator)


def test_name():
    assert isinstance(get_scorer("knn_shapley", at="path"), KNNShapley)
