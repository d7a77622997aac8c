"""BetaShapley and DataBanzhaf against their definitions over all subsets."""

from itertools import permutations, product

import joblib
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta as beta_law
from sklearn.cluster import KMeans

from skinfluence.scorers import BetaShapley, DataBanzhaf, DataShapley, get_scorer
from tests.scorers.shapley import brute_force
from tests.scorers.test_data_shapley import STUMP, N, problem, worth


def by_beta(alpha, beta):
    """Return the weight of a set when each other sample is in it with a random chance.

    The chance p follows the law Beta(beta, alpha): an integral in place of the formula.
    """

    def weight(n_samples, size):
        def density(p):
            among = p**size * (1 - p) ** (n_samples - 1 - size)
            return among * beta_law.pdf(p, beta, alpha)

        return quad(density, 0, 1)[0]

    return weight


def gains_by_order(value):
    """Yield for each order of the samples each one's place and gain."""
    for order in permutations(range(N)):
        places = np.argsort(order)
        yield places, [value(order[: k + 1]) - value(order[:k]) for k in places]


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "beta"), [(1, 1), (4, 1), (16, 1), (2, 3.5)])
@pytest.mark.parametrize("weighted", [False, True])
def test_beta_shapley_is_the_semivalue(alpha, beta, weighted):
    data = problem(classes=True)
    weights = np.linspace(0.1, 2, 20) if weighted else None
    value = worth(STUMP, *data, weights)
    expected = brute_force(N, value, by_beta(alpha, beta))
    scorer = BetaShapley(alpha, beta, n_permutations=80, tolerance=0, random_state=0)
    # The mean over all orders is the semivalue itself, up to the integral's error.
    places, gains = map(np.array, zip(*gains_by_order(value), strict=True))
    every = scorer._weights(N)[places] * gains
    np.testing.assert_allclose(every.mean(0), expected, rtol=1e-7, atol=1e-12)
    found = scorer(STUMP, *data, sample_weight_val=weights)
    # Four standard errors, which chance exceeds once in 16,000 values.
    assert (abs(found - expected) <= 4 * every.std(0) / 80**0.5 + 1e-12).all()


def test_beta_of_ones_is_data_shapley():
    data = problem(classes=True)
    found = BetaShapley(1, 1, n_permutations=5, random_state=0)(STUMP, *data)
    expected = DataShapley(5, random_state=0)(STUMP, *data)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n_samples", [1, 50, 5000])
def test_weights_are_those_of_a_law_of_sizes(n_samples):
    weights = BetaShapley(16, 1)._weights(n_samples)
    # Logarithms of factorials of 5,000 have lost some digits.
    assert weights.mean() == pytest.approx(1, rel=1e-9)
    assert (np.diff(weights) < 0).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_banzhaf_is_the_semivalue_of_equal_weights(weighted, monkeypatch):
    data = problem(classes=True)
    weights = np.linspace(0.1, 2, 20) if weighted else None
    value = worth(STUMP, *data, weights)
    expected = brute_force(N, value, lambda n, size: 0.5 ** (n - 1))
    rows = np.array(list(product([0, 1], repeat=N)))

    class Every:
        def randint(self, high, size):
            assert size == rows.shape
            return rows

    with monkeypatch.context() as patch:
        patch.setattr(
            "skinfluence.scorers._data_banzhaf.random_generator", lambda _: Every()
        )
        exact = DataBanzhaf(2**N)(STUMP, *data, sample_weight_val=weights)
    np.testing.assert_allclose(exact, expected, atol=1e-12)
    gains = []
    for row in rows:
        inside, outside = (tuple(np.flatnonzero(row == k)) for k in (1, 0))
        gains.append((2 * row - 1) * (value(inside) - value(outside)))
    found = DataBanzhaf(200, random_state=0)(STUMP, *data, sample_weight_val=weights)
    # Four standard errors, which chance exceeds once in 16,000 values.
    assert (abs(found - expected) <= 4 * np.std(gains, axis=0) / 200**0.5).all()


@pytest.mark.parametrize(
    "scorer",
    [BetaShapley(n_permutations=4, random_state=3), DataBanzhaf(4, random_state=3)],
    ids=str,
)
def test_draws_are_the_same_however_many_at_once(scorer):
    data = problem(classes=True)
    alone = scorer(STUMP, *data)
    with joblib.parallel_config(backend="threading"):
        together = scorer.set_params(n_jobs=2)(STUMP, *data)
    assert np.array_equal(alone, together)


@pytest.mark.parametrize(
    ("scorer", "estimator", "error", "message"),
    [
        (BetaShapley(0), STUMP, ValueError, "`alpha` must be .*above 0, got 0"),
        (BetaShapley(1, -1), STUMP, ValueError, "`beta` must be .*got -1"),
        (BetaShapley(n_permutations=0), STUMP, ValueError, "`n_permutations` must"),
        (BetaShapley(), KMeans(), TypeError, "regressor for .*'beta_shapley'"),
        (DataBanzhaf(0), STUMP, ValueError, "`n_subsets` must be .*got 0"),
        (DataBanzhaf(), KMeans(), TypeError, "regressor for .*'data_banzhaf'"),
        (DataBanzhaf(scoring="accurate"), STUMP, ValueError, "accurate"),
    ],
)
def test_says_what_is_lacking(scorer, estimator, error, message):
    with pytest.raises(error, match=message):
        scorer.check_estimator(estimator)


def test_names():
    assert isinstance(get_scorer("beta_shapley"), BetaShapley)
    assert isinstance(get_scorer("data_banzhaf"), DataBanzhaf)
