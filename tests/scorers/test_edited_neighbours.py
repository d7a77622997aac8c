"""EditedNeighbours against neighbours found by hand, and against imbalanced-learn."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.neighbors import KNeighborsClassifier

from skinfluence.estimators import represent
from skinfluence.scorers import EditedNeighbours, get_scorer
from tests.cases import Case

KNN = KNeighborsClassifier()


def blobs():
    return make_blobs(120, centers=3, cluster_std=4.0, random_state=0)


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("metric", ["euclidean", "cityblock"])
def test_is_the_share_of_other_labels_by_hand(k, metric):
    X, y = blobs()
    labels = np.array(["a", "b", "c"])[y]
    found = EditedNeighbours(k, metric=metric)(KNN, X, labels)
    for i in range(len(X)):
        steps = abs(X - X[i])
        far = (steps**2).sum(1) if metric == "euclidean" else steps.sum(1)
        far[i] = np.inf
        nearest = np.argsort(far)[:k]
        assert found[i] == pytest.approx(-np.mean(labels[nearest] != labels[i]))


@pytest.mark.parametrize("kind", ["all", "mode"])
def test_wilsons_rule_removes_what_scores_low(kind):
    imblearn = pytest.importorskip("imblearn.under_sampling")
    X, y = blobs()
    y = (y > 0).astype(int)
    rule = imblearn.EditedNearestNeighbours(
        sampling_strategy="all", n_neighbors=3, kind_sel=kind
    )
    rule.fit_resample(X, y)
    scores = EditedNeighbours(3)(KNN, X, y)
    kept = scores == 0 if kind == "all" else scores >= -0.5
    assert set(rule.sample_indices_) == set(np.flatnonzero(kept))
    assert 0 < kept.sum() < len(y)


def test_a_duplicate_is_a_neighbour_and_the_sample_itself_is_none():
    X = np.array([[0.0], [0.0], [5.0], [5.0], [5.1]])
    scores = EditedNeighbours(1)(KNN, X, np.array([0, 1, 0, 0, 1]))
    assert scores.tolist() == [-1, -1, 0, 0, -1]


def test_features_are_input_or_representation():
    case = Case("cnn")
    X, y, _ = case.data()
    clf = case.fitted()
    flat, hidden = X.reshape(len(X), -1), represent(clf, X)
    for features, rows in {"input": flat, "representation": hidden}.items():
        found = EditedNeighbours(2, features=features)(clf, X, y)
        assert np.array_equal(found, EditedNeighbours(2)(clf, rows, y))


def test_sparse_features_have_the_same_neighbours():
    X, y = blobs()
    expected = EditedNeighbours()(KNN, X, y)
    assert np.array_equal(EditedNeighbours()(KNN, sparse.csr_matrix(X), y), expected)


@pytest.mark.parametrize(
    ("options", "estimator", "error", "message"),
    [
        ({"n_neighbors": 0}, KNN, ValueError, "`n_neighbors` must be .*got 0"),
        ({"n_neighbors": 120}, KNN, ValueError, r"below the .*\(120\), got 120"),
        ({"features": "raw"}, KNN, ValueError, "`features` must be .*'raw'"),
        ({}, KMeans(), TypeError, "a classifier for .*'edited_neighbours'"),
        (
            {"features": "representation"},
            KNN,
            TypeError,
            "a network for features='representation' .*'edited_neighbours'",
        ),
    ],
)
def test_says_what_is_lacking(options, estimator, error, message):
    with pytest.raises(error, match=message):
        EditedNeighbours(**options)(estimator, *blobs())


def test_name():
    assert isinstance(get_scorer("edited_neighbours"), EditedNeighbours)
