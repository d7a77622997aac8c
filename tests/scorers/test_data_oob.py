"""DataOOB against scikit-learn's bagging, its models asked one by one."""

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC

from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import flip_labels
from skinfluence.scorers import DataOOB, get_scorer
from tests.cases import Case


def out_of_bag(bags, X, right):
    """Return the mean rightness of each sample over the models that did not see it."""
    seen = [[] for _ in X]
    for model, inside in zip(bags.estimators_, bags.estimators_samples_, strict=True):
        for sample in set(range(len(X))) - set(inside):
            seen[sample].append(right(model.predict(X[[sample]])[0], sample))
    return np.array([np.mean(values) if values else np.nan for values in seen])


@pytest.mark.parametrize("n_estimators", [30, 3])
def test_classifiers(n_estimators):
    X, codes = load_iris(return_X_y=True)
    X, codes = X[::3], flip_labels(codes[::3], 0.1, random_state=0)[0]
    y = np.array(["b", "a", "c"])[codes]
    clf = KNeighborsClassifier(2)
    bags = BaggingClassifier(clf, n_estimators, random_state=4).fit(X, y)
    expected = out_of_bag(bags, X, lambda found, i: bags.classes_[found] == y[i])
    found = DataOOB(n_estimators, random_state=4)(clf, X, y)
    never = np.isnan(expected)
    np.testing.assert_array_equal(found[~never], expected[~never])
    # Three bags leave no hope to be outside of one to about a fourth.
    assert never.any() == (n_estimators == 3)
    np.testing.assert_allclose(found[never], expected[~never].mean())


def test_classes_that_the_estimator_was_told():
    X, y = load_iris(return_X_y=True)
    X, names = X[::3], np.array(["b", "a", "c"])[y[::3]]
    options = {"max_epochs": 3, "random_state": 0}

    def scores(classes, y):
        clf = SGDInfluenceClassifier("linear", classes=classes, **options)
        return DataOOB(5, random_state=4)(clf, X, y)

    np.testing.assert_array_equal(scores(["a", "b", "c"], names), scores(None, names))
    # Classes are outputs by their place, whatever they are called.
    codes = np.array([1, 3, 2])[y[::3]]
    np.testing.assert_array_equal(
        scores(["z", "b", "c", "a"], names), scores([0, 1, 2, 3], codes)
    )


@pytest.mark.parametrize("n_estimators", [30, 3])
def test_the_loss_of_the_mean_probabilities(n_estimators):
    X, codes = load_iris(return_X_y=True)
    X, codes = X[::3], flip_labels(codes[::3], 0.1, random_state=0)[0]
    y = np.array(["b", "a", "c"])[codes]
    clf = KNeighborsClassifier(3)
    bags = BaggingClassifier(clf, n_estimators, random_state=4).fit(X, y)
    seen = [[] for _ in X]
    for model, inside in zip(bags.estimators_, bags.estimators_samples_, strict=True):
        for i in set(range(len(X))) - set(inside):
            own = bags.classes_[model.classes_] == y[i]
            seen[i].append(model.predict_proba(X[[i]])[0, own].sum())
    tiny = np.finfo(float).tiny  # of a label that no model finds possible
    expected = np.array(
        [np.log(max(np.mean(each), tiny)) if each else np.nan for each in seen]
    )
    found = DataOOB(n_estimators, measure="loss", random_state=4)(clf, X, y)
    never = np.isnan(expected)
    np.testing.assert_allclose(found[~never], expected[~never], rtol=1e-12)
    assert never.any() == (n_estimators == 3)
    np.testing.assert_allclose(found[never], expected[~never].mean())


def test_a_regressor_has_one_measure_and_a_classifier_needs_probabilities():
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:60], y[:60]
    by_loss = DataOOB(10, measure="loss", random_state=1)
    by_error = DataOOB(10, random_state=1)
    model = KNeighborsRegressor(3)
    np.testing.assert_array_equal(by_loss(model, X, y), by_error(model, X, y))
    with pytest.raises(TypeError, match=r"must have `predict_proba` .*'data_oob'"):
        by_loss(LinearSVC(), X, y > y.mean())


@pytest.mark.parametrize("outputs", [1, 2])
def test_regressors(outputs):
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:60], y[:60]
    y = np.stack([y, X[:, 2]], axis=1) if outputs == 2 else y
    model = KNeighborsRegressor(3)
    bags = BaggingRegressor(model, 20, random_state=1).fit(X, y)
    expected = out_of_bag(bags, X, lambda found, i: -np.mean((found - y[i]) ** 2))
    found = DataOOB(20, random_state=1)(model, X, y)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_wrong_labels_have_low_scores():
    X, y = load_iris(return_X_y=True)
    y, flips = flip_labels(y, 0.1, random_state=0)
    scores = DataOOB(50, random_state=0)(LogisticRegression(max_iter=500), X, y)
    # Some right labels of overlapping classes look wrong too.
    assert roc_auc_score(~flips, scores) > 0.9
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.filterwarnings("ignore:`module` returns")
def test_frames_reach_pipelines_and_images_reach_networks():
    X = pd.DataFrame({"colour": ["red", "blue"] * 20, "n": np.arange(40) % 5})
    y = (X["colour"] == "red").to_numpy()
    pipe = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["colour"])), LogisticRegression()
    )
    assert (DataOOB(20, random_state=0)(pipe, X, y) == 1).all()
    images, y, _ = Case("cnn").data()
    clf = Case("cnn").classifier(max_epochs=1)
    scores = DataOOB(20, random_state=0)(clf, images, y)
    assert scores.shape == (14,)
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize(
    ("options", "estimator", "error", "message"),
    [
        ({"n_estimators": 0}, KNeighborsClassifier(), ValueError, "of at least 1, got"),
        ({}, KMeans(), TypeError, "a classifier or a regressor for .*'data_oob'"),
    ],
)
def test_says_what_is_lacking(options, estimator, error, message):
    with pytest.raises(error, match=message):
        DataOOB(**options).check_estimator(estimator)


def test_refuses_bags_that_leave_out_nobody():
    with pytest.raises(ValueError, match="some sample is out of bag, got 1 for 1"):
        DataOOB(1, random_state=0)(KNeighborsRegressor(1), np.zeros((1, 1)), [0.0])


def test_name():
    assert isinstance(get_scorer("data_oob", at="path"), DataOOB)
