"""Statistics of heavy-tailed draws, with intervals that cover what they say.

Intervals for normal data cover far too seldom there. Draws are made without replacement
from a `population`, and the intervals are for the statistic of the whole of it;
benchmarks/coverage.py measures how often they cover it.
"""

import math

import numpy as np
from scipy.stats import binom, hypergeom, rankdata, t

from ..._numbers import is_real

Interval = tuple[float, float]


def check_level(level: object) -> None:
    """Refuse what is no level of an interval."""
    if not is_real(level) or not 0 < float(level) < 1:
        raise ValueError(
            f"`level` must be a number between 0 and 1, such as 0.9, got {level!r}."
        )


def kendall(
    x: np.ndarray, y: np.ndarray, level: float, population: float
) -> tuple[float, Interval]:
    """Return Kendall's tau-a of draws, and an interval for that of the population.

    By the variance of a U-statistic, with Student's quantiles. A few badly predicted
    samples make up much of what is lacking to a correlation of 1, and may not be among
    the draws: as Agresti and Coull do for a proportion, one without information is
    added. Where the correlation is close to 1, the interval covers more than it says.
    """
    if not _comparable(x, y):
        return math.nan, (math.nan, math.nan)
    n = len(x)
    orders = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
    # Pairs that are tied in both, such as samples of weight 0, agree.
    concordant = np.where(orders[0] == orders[1], 1.0, orders[0] * orders[1])
    each = (concordant.sum(axis=1) - 1) / (n - 1)
    found = float(each.mean())
    left = 1 - n / population
    each = np.append(each, 0.0)
    half = float(t.ppf(0.5 + level / 2, n - 1)) * 2 * float(each.std())
    half *= math.sqrt(left / (n - 1))
    # Of a whole population, nothing is unknown: nothing is added either.
    center = found + math.sqrt(left) * (float(each.mean()) - found)
    return found, _inside(center - half, center + half)


def spearman(x: np.ndarray, y: np.ndarray, level: float) -> tuple[float, Interval]:
    """Return Spearman's correlation of independent draws, and an interval for it.

    By the jackknife on Fisher's scale, with Student's quantiles.
    """
    pairs = np.stack([x, y])
    if not _comparable(x, y):
        return math.nan, (math.nan, math.nan)
    n = len(x)
    # Row i of the table: all pairs but the i-th.
    others = np.arange(n - 1) + (np.arange(n - 1) >= np.arange(n)[:, None])
    found = float(_spearman(pairs))
    # 1 has no place on Fisher's scale: half an exchange of two neighbours from it.
    most = 1 - 6 / (n * (n * n - 1))
    center = float(np.clip(found, -most, most))
    without = np.clip(_spearman(pairs[:, others]), -most, most)
    variance = (n - 1) ** 2 / n * float(np.arctanh(without).var())
    if abs(found) > most:
        # The jackknife sees no spread. That for normal data (Bonett and Wright, "Sample
        # Size Requirements for Estimating Pearson, Kendall and Spearman Correlations",
        # 2000).
        variance = 1.5 / (n - 3)
    half = float(t.ppf(0.5 + level / 2, n - 2)) * math.sqrt(variance)
    low, high = np.tanh(np.arctanh(center) + [-half, half])
    return found, (
        -1.0 if found < -most else float(low),
        1.0 if found > most else float(high),
    )


def median(
    values: np.ndarray, level: float, population: float
) -> tuple[float, Interval]:
    """Return the median of draws of at least 0, and an interval for the population's.

    By order statistics, whatever the distribution, interpolated between two of them
    where the level is in between. The upper end is infinite if the draws are too few.
    """
    n = len(values)
    count = (
        binom(n, 0.5)
        if math.isinf(population)
        else hypergeom(int(population), int(population) // 2, n)
    )
    # The k-th of the draws is below the median if at least k of all are.
    below = count.cdf(np.arange(-1, n + 1))
    tail = (1 - level) / 2
    ordered = np.concatenate([[0.0], np.sort(values), [math.inf]])
    low, high = np.interp([tail, 1 - tail], below, np.arange(n + 2))
    return float(np.median(values)), (_at(ordered, low), _at(ordered, high))


def mean(values: np.ndarray, level: float) -> tuple[float, Interval]:
    """Return the mean of independent draws from [-1, 1], and Student's interval."""
    n = len(values)
    found = float(values.mean())
    half = float(t.ppf(0.5 + level / 2, n - 1)) * float(values.std(ddof=1))
    half /= math.sqrt(n)
    return found, _inside(found - half, found + half)


def _comparable(x: np.ndarray, y: np.ndarray) -> bool:
    pairs = np.stack([x, y])
    return bool(np.isfinite(pairs).all() and (np.ptp(pairs, axis=1) > 0).all())


def _inside(low: float, high: float) -> Interval:
    return max(-1.0, low), min(1.0, high)


def _spearman(pairs: np.ndarray) -> np.ndarray:
    """Return the correlations along the last axis, of shape ``pairs.shape[1:-1]``."""
    ranks = rankdata(pairs, axis=-1)
    ranks -= ranks.mean(axis=-1, keepdims=True)
    sizes = np.sqrt((ranks**2).sum(axis=-1)).prod(axis=0)
    products = ranks.prod(axis=0).sum(axis=-1)
    # Without one of them, the others may be the same.
    return np.divide(products, sizes, out=np.zeros_like(products), where=sizes > 0)


def _at(ordered: np.ndarray, place: float) -> float:
    """Return what is at a place between two of the ordered values."""
    low = math.floor(place)
    share = place - low
    if not share:
        return float(ordered[low])
    return float((1 - share) * ordered[low] + share * ordered[low + 1])
