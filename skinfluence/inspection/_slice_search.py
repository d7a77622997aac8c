"""The search for slices whose rows do more harm than as many random rows."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import sparse

from ._slice_columns import Predicates


@dataclass(frozen=True)
class Slices:
    """Slices: a conjunction of two predicates each, or one with `everything`.

    Attributes
    ----------
    first, second : ndarray of shape (n_slices,), int
        The columns, of which the 0th is `everything`.
    of_first, of_second : ndarray of shape (n_slices,), int
        Their predicates.
    n_rows : ndarray of shape (n_slices,), int
        How many rows each has.
    total : ndarray of shape (n_slices,)
        The sum of the influence over them.
    deviation : ndarray of shape (n_slices,)
        By how many standard deviations the sum is above that of as many random rows.
    within : ndarray of shape (n_slices,)
        The same among the rows of one of the two predicates: the larger. For a single
        predicate minus infinity.
    beside : ndarray of shape (n_slices,)
        How harmful the other rows of one of the two predicates are, row by row and
        beyond the mean of all, relative to the slice: the larger. For a single
        predicate minus infinity.
    """

    first: np.ndarray
    second: np.ndarray
    of_first: np.ndarray
    of_second: np.ndarray
    n_rows: np.ndarray
    total: np.ndarray
    deviation: np.ndarray
    within: np.ndarray
    beside: np.ndarray

    def __getitem__(self, places: np.ndarray) -> "Slices":
        return Slices(*(getattr(self, field.name)[places] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.total)


class Found(NamedTuple):
    """Harmful slices, and what was tried.

    Attributes
    ----------
    slices : Slices
        The slices.
    n_tried : int
        How many have the support.
    by_chance : ndarray of shape (n_permutations,)
        The lowest deviation of all slices in each permutation.
    """

    slices: Slices
    n_tried: int
    by_chance: np.ndarray


def search(
    columns: Sequence[Predicates],
    influence: np.ndarray,
    shuffled: np.ndarray,
    least: int,
    most: int,
) -> Found:
    """Return all harmful slices of at least `least` and at most `most` rows.

    Parameters
    ----------
    columns : sequence of Predicates
        The columns, `everything` first.
    influence : ndarray of shape (n_rows,)
        What is summed.
    shuffled : ndarray of shape (n_rows, n_permutations)
        The same in random orders.
    least, most : int
        The support.

    Returns
    -------
    Found
        The slices.
    """
    values = np.column_stack([np.ones(len(influence)), influence, influence**2])
    whole = values.sum(axis=0)
    values = np.concatenate([values, shuffled], axis=1)
    alone = [pair_sums(columns[0], column, values[:, :3])[0] for column in columns]
    parts: list[Slices] = []
    n_tried, lowest = 0, np.full(shuffled.shape[1], np.inf)
    for a, b in combinations(range(len(columns)), 2):
        sums = pair_sums(columns[a], columns[b], values)
        n_rows = np.rint(sums[..., 0])
        i, j = np.nonzero((n_rows >= least) & (n_rows <= most))
        sums, n_rows = sums[i, j], n_rows[i, j]
        by_chance = deviation(n_rows[:, None], sums[:, 3:], whole)
        lowest = np.minimum(lowest, by_chance.min(axis=0, initial=np.inf))
        n_tried += len(i)
        total = sums[:, 1]
        within, beside = np.full((2, len(i)), -np.inf)
        if a > 0:
            both = alone[a][i].T, alone[b][j].T
            within = np.maximum(*(deviation(n_rows, total, one) for one in both))
            beside = np.maximum(*(_beside(n_rows, total, one, whole) for one in both))
        place = np.full(len(i), a), np.full(len(i), b), i, j, n_rows.astype(np.intp)
        deviations = deviation(n_rows, total, whole)
        slices = Slices(*place, total, deviations, within, beside)
        parts.append(slices[(total < 0) & (slices.deviation < 0)])
    return Found(_joined(parts), n_tried, lowest)


def _joined(parts: Sequence[Slices]) -> Slices:
    names = [field.name for field in fields(Slices)]
    return Slices(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in names)
    )


def deviation(n_rows: np.ndarray, total: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Return by how many standard deviations sums differ from those of random rows.

    Parameters
    ----------
    n_rows : ndarray
        How many rows were summed.
    total : ndarray
        Their sum.
    of : ndarray of shape (3, ...)
        The number of rows from which they come, their sum and that of their squares.

    Returns
    -------
    ndarray
        The standardized sums; 0 where there is nothing to choose among.
    """
    n_all, sum_all, squares = of
    mean = sum_all / np.maximum(n_all, 1)
    variance = np.maximum(squares / np.maximum(n_all, 1) - mean**2, 0)
    # Of values that are drawn without replacement.
    left = n_rows * (n_all - n_rows) / np.maximum(n_all - 1, 1)
    # What rounding makes of equal values is no spread.
    equal = variance <= 1e-12 * mean**2
    spread = np.sqrt(np.where(equal, 0, variance * left))
    excess = total - n_rows * mean
    spread = np.broadcast_to(spread, excess.shape)
    return np.divide(excess, spread, out=np.zeros_like(excess), where=spread > 0)


def _beside(
    n_rows: np.ndarray, total: np.ndarray, of: np.ndarray, whole: np.ndarray
) -> np.ndarray:
    """Return how harmful the other rows are, row by row, relative to those summed."""
    mean = whole[1] / whole[0]
    others = (of[1] - total) / np.maximum(of[0] - n_rows, 1) - mean
    own = total / n_rows - mean
    return np.divide(others, own, out=np.full_like(own, np.inf), where=own < 0)


def pair_sums(first: Predicates, second: Predicates, values: np.ndarray) -> np.ndarray:
    """Return the sums of values over the rows of every pair of predicates.

    First over the pairs of cells, of which each row has one.

    Returns
    -------
    ndarray of shape (n_predicates of first, n_predicates of second, n_values)
        The sums.
    """
    shape = first.unions.shape[1], second.unions.shape[1]
    pairs = np.ravel_multi_index((first.cells, second.cells), shape)
    rows = np.arange(len(values))
    ones = np.ones(len(values))
    membership = sparse.csr_matrix(
        (ones, (pairs, rows)), shape=(shape[0] * shape[1], len(values))
    )
    of_cells = (membership @ values).reshape(*shape, -1)
    of_first = np.tensordot(first.unions.astype(float), of_cells, axes=(1, 0))
    of_both = np.tensordot(second.unions.astype(float), of_first, axes=(1, 1))
    return of_both.swapaxes(0, 1)
