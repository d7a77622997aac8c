"""Intervals cover what they say, on populations with a known truth."""

import numpy as np
import pytest
from scipy import stats

from skinfluence.estimators._questions import intervals

N, DRAWS = 400, 1000


def population(noise, seed=0):
    """Heavy-tailed influences, and true changes with errors as heavy-tailed."""
    rng = np.random.default_rng(seed)
    estimated = rng.standard_t(2, N)
    errors = noise * rng.standard_t(2, N) * np.sqrt(np.abs(estimated))
    return estimated, estimated + errors


def covered(interval_of, truth, n, level, seed=1):
    """Return the share of checks of n samples whose interval holds the truth."""
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(DRAWS):
        low, high = interval_of(rng.permutation(N)[:n], level)
        hits += low <= truth <= high
    return hits / DRAWS


# Of 1,000 draws, the share covered has a standard deviation of 0.009 (0.007) at a
# level of 0.9 (0.95): within 4 of them, 0.04, of it.
@pytest.mark.slow
@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize(("noise", "n"), [(0.05, 20), (1.0, 100)])
def test_the_interval_for_the_median_covers_exactly_its_level(noise, n, level):
    estimated, exact = population(noise)
    errors = np.abs(estimated - exact) / np.abs(exact)
    share = covered(
        lambda rows, level: intervals.median(errors[rows], level, N)[1],
        np.median(errors),
        n,
        level,
    )
    assert share == pytest.approx(level, abs=0.04)


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize(("noise", "n"), [(0.05, 20), (1.0, 50)])
def test_the_interval_for_kendalls_correlation_covers_at_least_its_level(
    noise, n, level
):
    estimated, exact = population(noise)
    share = covered(
        lambda rows, level: intervals.kendall(estimated[rows], exact[rows], level, N)[
            1
        ],
        stats.kendalltau(estimated, exact).statistic,
        n,
        level,
    )
    assert share > level - 0.04


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("correlation", [0.0, 0.95])
def test_the_interval_for_spearmans_correlation_covers_its_level(correlation, level):
    rng = np.random.default_rng(0)
    # Of normal pairs (Kendall and Gibbons, Rank Correlation Methods, 1990).
    truth = 6 / np.pi * np.arcsin(correlation / 2)
    hits = 0
    for _ in range(DRAWS):
        x, noise = rng.standard_normal((2, 40))
        y = correlation * x + np.sqrt(1 - correlation**2) * noise
        low, high = intervals.spearman(x, y, level)[1]
        hits += low <= truth <= high
    # Another 0.02, for a variance that is estimated.
    assert hits / DRAWS == pytest.approx(level, abs=0.05)


def test_all_of_a_population_leaves_nothing_unknown():
    estimated, exact = population(1.0)
    found, interval = intervals.kendall(estimated, exact, 0.9, N)
    assert found == pytest.approx(stats.kendalltau(estimated, exact).statistic)
    assert interval == pytest.approx((found, found))


def test_a_perfect_order_is_not_taken_as_proof():
    x = np.arange(20.0)
    found, (low, high) = intervals.kendall(x, x**3, 0.95, np.inf)
    assert found == high == 1
    assert 0.7 < low < 0.9
    found, (low, high) = intervals.spearman(x, x**3, 0.95)
    assert found == pytest.approx(1.0)
    assert 0.99 < low < 0.999
    assert high == 1


def test_too_few_draws_have_no_upper_end():
    # The largest of 3 is above the median in 7 cases of 8.
    assert intervals.median(np.ones(3), 0.9, np.inf)[1] == (pytest.approx(0.4), np.inf)


def test_values_that_are_not_finite_say_nothing():
    x = np.array([1.0, 2.0, np.inf, 3.0])
    found, interval = intervals.kendall(x, np.arange(4.0), 0.9, 10)
    assert np.isnan([found, *interval]).all()
