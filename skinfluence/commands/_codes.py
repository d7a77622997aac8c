"""Numbers that may be codes of groups: neighbours are no more alike than others."""

from collections.abc import Iterator

import numpy as np
from scipy.stats import rankdata

from ._choices import CLASSIFICATION, NUMBER
from ._columns import convert
from ._kinds import AS_REQUESTED
from ._problem import Problem

_ENOUGH = 5_000  # rows that tell
_MOST_COLUMNS = 20  # to compare with
_FEWEST_CODES, _FEWEST_ROWS = 20, 3  # different numbers, and rows of each on average

# Tried on 347 columns of whole numbers that are repeated so, in 177 tables of R's
# packages: 36 were told, of which 28 name groups, about half of those that do. The
# other 8 are the same in all rows of a group, such as the size of a school class.
_BEYOND_CHANCE = 5.0  # chance gives 1
_OF_ALL = 0.6  # of the differences between any two groups


def possible_codes(problem: Problem) -> list[str]:
    """Return the columns of numbers that may be codes of groups.

    A quantity goes with others steadily, so that rows with neighbouring numbers are
    alike. Of a code neighbours differ as much as any two, and by more than chance.
    """
    columns = [column for column in problem.columns if column.kind == NUMBER]
    if not columns:
        return []
    rows = np.random.RandomState(0).permutation(len(problem.table))[:_ENOUGH]
    frame = convert(problem.table, columns).iloc[rows]
    values = {column.name: frame[column.name].to_numpy(float) for column in columns}
    asked = {column.name for column in columns if column.why.startswith(AS_REQUESTED)}
    target = _as_numbers(problem)[rows]
    found = []
    for name, numbers in values.items():
        others = [other for each, other in values.items() if each != name]
        compared = [target, *others[:_MOST_COLUMNS]]
        if name not in asked and _repeats(numbers) and _differ(numbers, compared):
            found.append(name)
    return found


def _as_numbers(problem: Problem) -> np.ndarray:
    """Return the target as numbers: of labels, whether it is the most frequent."""
    y = problem.target.y
    if problem.target.task != CLASSIFICATION:
        return np.asarray(y, dtype=float)
    labels, counts = np.unique(y, return_counts=True)
    return np.asarray(y == labels[counts.argmax()], dtype=float)


def _repeats(numbers: np.ndarray) -> bool:
    """Whether whole numbers are repeated as codes of groups are."""
    known = numbers[~np.isnan(numbers)]
    if (known % 1 != 0).any() or (known < 0).any():
        return False
    n_different = len(np.unique(known))
    return _FEWEST_CODES < n_different <= len(known) / _FEWEST_ROWS


def _differ(numbers: np.ndarray, others: list[np.ndarray]) -> bool:
    """Whether neighbours differ in most other columns as any two groups do."""
    pairs = list(_differences(numbers, others))
    if not pairs:
        return False
    neighbours, groups = np.transpose(pairs)
    alike = np.median(neighbours / np.maximum(groups, 1.0))
    return bool(np.median(neighbours) >= _BEYOND_CHANCE and alike >= _OF_ALL)


def _differences(
    numbers: np.ndarray, others: list[np.ndarray]
) -> Iterator[tuple[float, float]]:
    """Yield how much neighbouring groups differ, and any two: 1 if by chance."""
    for other in others:
        known = ~np.isnan(numbers) & ~np.isnan(other)
        _, group, sizes = np.unique(
            numbers[known], return_inverse=True, return_counts=True
        )
        n, k = len(group), len(sizes)
        if k < 3 or n == k or np.ptp(other[known]) == 0:
            continue
        ranks = rankdata(other[known])
        means = np.bincount(group, ranks) / sizes
        within = np.sum((ranks - means[group]) ** 2) / (n - k)
        # Where all rows of a group are the same, all differences are beyond chance.
        within = max(within, 1e-9 * ranks.var())
        steps = np.diff(means) ** 2 / (1 / sizes[1:] + 1 / sizes[:-1])
        between = np.sum(sizes * (means - ranks.mean()) ** 2) / (k - 1)
        yield float(steps.mean() / within), float(between / within)
