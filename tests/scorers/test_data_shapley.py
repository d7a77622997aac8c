"""DataShapley against the definition, over all subsets and orders of a few samples."""

from itertools import permutations

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression, RidgeClassifier
from sklearn.metrics import r2_score
from sklearn.tree import DecisionTreeClassifier

from skinfluence import SGDInfluenceClassifier
from skinfluence.scorers import DataShapley, get_scorer
from tests.scorers.shapley import brute_force

N = 6
STUMP = DecisionTreeClassifier(max_depth=2, random_state=0)


def problem(classes):
    rng = np.random.default_rng(5)
    X, X_val = rng.normal(size=(N, 2)), rng.normal(size=(20, 2))
    y, y_val = X[:, 0] + 0.3 * rng.normal(size=N), X_val[:, 0]
    if classes:
        return X, (y > 0).astype(int), X_val, (y_val > 0).astype(int)
    return X, y, X_val, y_val


def worth(estimator, X, y, X_val, y_val, weights=None):
    """Return what a set is worth, by the definition, each set computed once."""
    known = {}

    def value(some):
        key = tuple(sorted(some))
        if key not in known:
            own = y[list(key)] if key else y
            if estimator is STUMP and (not key or len(set(own)) == 1):
                guess = np.bincount(own).argmax()
                known[key] = np.average(y_val == guess, weights=weights)
            elif not key:
                known[key] = r2_score(y_val, np.full(len(y_val), own.mean()))
            else:
                model = clone(estimator).fit(X[list(key)], own)
                known[key] = model.score(X_val, y_val, sample_weight=weights)
        return known[key]

    return value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "weighted"),
    [(STUMP, False), (STUMP, True), (LinearRegression(), False)],
    ids=str,
)
def test_values_are_those_of_the_definition(estimator, weighted):
    data = problem(classes=estimator is STUMP)
    weights = np.linspace(0.1, 2, 20) if weighted else None
    value = worth(estimator, *data, weights)
    expected = brute_force(N, value)
    gains = np.array(
        [
            [
                value(order[: order.index(i) + 1]) - value(order[: order.index(i)])
                for i in range(N)
            ]
            for order in permutations(range(N))
        ]
    )
    # The same values, as means over all orders: an oracle of the oracle.
    np.testing.assert_allclose(gains.mean(0), expected, atol=1e-12)
    orders = 80
    found = DataShapley(orders, tolerance=0, random_state=0)(
        estimator, *data, sample_weight_val=weights
    )
    # Four standard errors, which chance exceeds once in 16,000 values.
    assert (abs(found - expected) <= 4 * gains.std(0) / orders**0.5 + 1e-12).all()
    everyone = tuple(range(N))
    assert found.sum() == pytest.approx(value(everyone) - value(()), abs=1e-12)


def test_an_order_is_broken_off_near_the_whole_score():
    X, y, X_val, y_val = problem(classes=True)
    value = worth(STUMP, X, y, X_val, y_val)
    gap = value(tuple(range(N))) - value(())
    assert gap > 0.1
    fits = []

    class Counting(DecisionTreeClassifier):
        def fit(self, X, y, sample_weight=None, check_input=True):
            fits.append(len(X))
            return super().fit(X, y, sample_weight, check_input)

    clf = Counting(max_depth=2, random_state=0)
    for tolerance in (0, 0.1):
        fits.clear()
        for seed in range(10):
            scorer = DataShapley(1, tolerance=tolerance, random_state=seed)
            found = scorer(clf, X, y, X_val, y_val)
            # What is missing to the whole gap was given up.
            assert abs(gap - found.sum()) <= tolerance + 1e-12
        # Each order fits all samples at its end, unless it is broken off; and all are
        # fitted once before.
        assert (fits.count(N) == 20) == (tolerance == 0)
    # No set is further than that from the whole.
    assert not DataShapley(3, tolerance=2.0)(STUMP, X, y, X_val, y_val).any()


def test_orders_are_the_same_however_many_at_once():
    data = problem(classes=True)
    alone = DataShapley(6, random_state=3)(STUMP, *data)
    with joblib.parallel_config(backend="threading"):
        together = DataShapley(6, n_jobs=2, random_state=3)(STUMP, *data)
    assert np.array_equal(alone, together)


def test_scoring_is_what_is_shared():
    data = problem(classes=True)
    found = DataShapley(4, tolerance=0, scoring="balanced_accuracy", random_state=0)(
        STUMP, *data
    )
    X, y, X_val, y_val = data
    right = STUMP.fit(X, y).predict(X_val) == y_val
    whole = np.mean([right[y_val == k].mean() for k in (0, 1)])
    # A constant prediction is right for one class of two.
    assert found.sum() == pytest.approx(whole - 0.5, abs=1e-12)


def test_networks_do_not_record_for_it():
    X, y, X_val, y_val = problem(classes=True)
    seen = set()

    class Watched(SGDInfluenceClassifier):
        def fit(self, X, y, **fit_params):
            seen.add(self.record)
            return super().fit(X, y, **fit_params)

    clf = Watched("linear", max_epochs=1, random_state=0)
    scores = DataShapley(1, tolerance=0, random_state=0)(clf, X, y, X_val, y_val)
    assert seen == {None}
    assert scores.any()


@pytest.mark.parametrize(
    ("options", "estimator", "error", "message"),
    [
        ({"n_permutations": 0}, STUMP, ValueError, "`n_permutations` must be .* got 0"),
        (
            {"tolerance": -1},
            STUMP,
            ValueError,
            "`tolerance` must be .* got -1",
        ),
        ({}, KMeans(), TypeError, "a classifier or a regressor for .*'data_shapley'"),
        ({"scoring": "accurate"}, STUMP, ValueError, "accurate"),
    ],
)
def test_says_what_is_lacking(options, estimator, error, message):
    with pytest.raises(error, match=message):
        DataShapley(**options).check_estimator(estimator)
    DataShapley().check_estimator(RidgeClassifier())


def test_name():
    assert isinstance(get_scorer("data_shapley", at="path"), DataShapley)
