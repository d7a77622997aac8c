"""Rows that repeat others: duplicates, conflicts of labels, and leakage."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.spatial import KDTree
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from .._digits import counted
from ._finding import Finding, counted_of
from ._table import Table, normalized

# More dimensions than a tree divides well.
_MOST_DIMENSIONS = 15
# So many rows tell how far apart neighbours usually are.
_SAMPLE = 500
# How many rows of all data may be as near by chance.
_BY_CHANCE = 0.05
_AT_ONCE = 1000
# Where points have more neighbours than this, on average, all distances are computed,
# so many at a time.
_MOST_NEIGHBOURS, _BLOCK = 100, 2**22
# A distance below this part of the least one in so many tables without copies has a
# probability of 1 in 20 if one column tells the rows apart, of less if several do.
_PART, _SHUFFLED = 0.25, 5

_KEEP_ONE = "Keep one of each, unless the repetition is meant."


class Copies:
    """The training rows and, below them, the validation rows, as one table.

    Parameters
    ----------
    table : Table
        All rows.
    n_train : int
        How many of them are to train on.
    near : float
        How near is nearly the same, as a part of the usual distance to the nearest row.
    """

    def __init__(self, table: Table, n_train: int, near: float) -> None:
        self.n_train, self.near = n_train, near
        self.table, self.noun = table, table.noun
        # The first row with the same cells, for each row.
        self.first = _firsts(table.rows)

    def duplicates(self, labels: np.ndarray | None) -> Iterator[Finding]:
        """Yield the later ones of equal training rows with equal labels."""
        n = self.n_train
        keys = self.first[:n]
        if labels is not None:
            keys = _firsts(keys * (labels.max() + 1) + labels)
        rows = np.flatnonzero(keys != np.arange(n))
        if not len(rows):
            return
        chance = _repeats(self._by_chance(), n)
        said = counted_of(len(rows), n, self.noun, "repeats", "repeat") + " another"
        if chance >= 0.5:
            said += (
                f"; as the columns have few values, about {round(chance):,} would be "
                "equal by chance"
            )
        yield Finding(
            "duplicates", said + ".", _KEEP_ONE, len(rows) / n, rows, keys[rows]
        )

    def conflicts(self, labels: np.ndarray) -> Iterator[Finding]:
        """Yield training rows whose inputs are equal and whose labels are not."""
        n = self.n_train
        by_inputs = pd.Series(labels).groupby(self.first[:n])
        rows = np.flatnonzero(by_inputs.transform("nunique").to_numpy() > 1)
        if not len(rows):
            return
        other = _first_with_another_label(self.first[rows], labels[rows])
        n_groups = len(np.unique(self.first[rows]))
        yield Finding(
            "conflicting_labels",
            f"{counted(len(rows), self.noun)} in {counted(n_groups, 'group')} have "
            "equal inputs and different labels.",
            "Find out which label is right, or which column would tell them apart.",
            len(rows) / n,
            rows,
            rows[other],
        )

    def leakage(self) -> Iterator[Finding]:
        """Yield the training rows whose inputs are in the validation data too."""
        held_out = self.first[self.n_train :]
        yield from self._leak(
            "leakage", np.flatnonzero(held_out < self.n_train), held_out, "the same as"
        )

    def near_leakage(self) -> Iterator[Finding]:
        """Yield the training rows that are nearly the same as validation rows."""
        held_out = self._near[self.n_train :]
        # Those that have the same row are told already.
        told = self.first[self.n_train :] < self.n_train
        rows = np.flatnonzero((held_out < self.n_train) & ~told)
        yield from self._leak("near_leakage", rows, held_out, "nearly the same as")

    def near_duplicates(self) -> Iterator[Finding]:
        """Yield the later ones of training rows that are nearly the same."""
        match = self._near[: self.n_train]
        rows = np.flatnonzero(match != np.arange(self.n_train))
        if not len(rows):
            return
        yield Finding(
            "near_duplicates",
            counted_of(len(rows), self.n_train, self.noun, "is", "are")
            + " nearly the same as another.",
            _KEEP_ONE,
            len(rows) / self.n_train,
            rows,
            match[rows],
        )

    def _leak(
        self, kind: str, held_out: np.ndarray, match: np.ndarray, how: str
    ) -> Iterator[Finding]:
        """Yield validation rows that match the training row of that number."""
        if not len(held_out):
            return
        n_val = len(self.table) - self.n_train
        yield Finding(
            kind,
            counted_of(len(held_out), n_val, f"validation {self.noun}", "is", "are")
            + f" {how} training {self.noun}s.",
            f"Take these out of one of the two: a score on {self.noun}s that were "
            "trained on is too good.",
            len(held_out) / n_val,
            match[held_out],
            held_out,
        )

    def _by_chance(self) -> float:
        """Return how many pairs of training rows would be equal if by chance only.

        From the pairs that differ in one column alone, and the share of all pairs that
        agree there: the median over the columns that have different values.
        """
        rows, n = self.table.rows[: self.n_train], self.n_train
        exact = _n_pairs(rows)
        estimates = []
        for digests in self.table.digests_by_column():
            column = digests[:n]
            agree = _n_pairs(column) / max(n * (n - 1) / 2, 1)
            if agree < 1:
                but_one = _n_pairs(rows - column) - exact
                estimates.append(but_one * agree / (1 - agree))
        return float(np.median(estimates)) if estimates else 0.0

    @cached_property
    def _near(self) -> np.ndarray:
        """The first row that is nearly the same, for each row; itself if none is.

        Numbers must be near, all else equal but for spaces and capitals. Of equal rows
        the first stands for all.
        """
        rows = np.flatnonzero(self.first == np.arange(len(self.first)))
        points = _scaled(self.table)[rows]
        groups = _groups(self.table, rows)
        radius = _radius(points, self.near)
        if not self.table.one_unit:
            radius = min(radius, _PART * _nearest_by_chance(points, groups))
        order = np.argsort(groups, kind="stable")
        ends = np.flatnonzero(np.diff(groups[order])) + 1
        near = np.arange(len(self.table))
        for members in np.split(order, ends):
            if len(members) > 1:
                own = rows[members]
                near[own] = own[_first_within(points[members], radius)]
        return near


def _repeats(n_pairs: float, n: int) -> float:
    """Return how many of n rows repeat an earlier one if so many pairs are equal.

    As among equally probable kinds of rows, of which there are so many as make these
    pairs.
    """
    if n_pairs <= 0:
        return 0.0
    n_kinds = max(n * (n - 1) / (2 * n_pairs), 1.0)
    if n_kinds <= 1:
        return n - 1.0
    return float(n + n_kinds * np.expm1(n * np.log1p(-1 / n_kinds)))


def _firsts(keys: np.ndarray) -> np.ndarray:
    """Return for each key where it first stands."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return np.asarray(first[inverse])


def _n_pairs(keys: np.ndarray) -> float:
    """Return how many pairs of keys are equal."""
    _, counts = np.unique(keys, return_counts=True)
    return float((counts * (counts - 1.0)).sum() / 2)


def _first_with_another_label(groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return for each row the first one of its group that has another label."""
    found = np.zeros(len(groups), dtype=np.intp)
    order = np.argsort(groups, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        for label in np.unique(labels[members]):
            others = members[labels[members] != label]
            found[members[labels[members] == label]] = others[0]
    return found


def _scaled(table: Table) -> np.ndarray:
    """Return the numbers in units of their columns' spread; 0 where one is missing."""
    columns = []
    if table.one_unit:
        return np.nan_to_num(table.frame.to_numpy(np.float64), posinf=0, neginf=0)
    for values in table.numbers.values():
        known = values[np.isfinite(values)]
        spread = np.subtract(*np.percentile(known, [75, 25])) if len(known) else 0.0
        spread = spread or (known.std() if len(known) else 0.0)
        if spread > 0:
            columns.append(np.nan_to_num(values / spread, posinf=0, neginf=0))
    return np.stack(columns, axis=1) if columns else np.zeros((len(table), 0))


def _groups(table: Table, rows: np.ndarray) -> np.ndarray:
    """Return a number for all that must be equal: words, and what is no number."""
    parts = {name: normalized(table.frame[name]) for name in table.others}
    # A missing or infinite number is like no other.
    parts |= {
        name: pd.Series(np.where(np.isfinite(values), 0.0, values))
        for name, values in table.numbers.items()
        if not np.isfinite(values).all()
    }
    if not parts:
        return np.zeros(len(rows), dtype=np.intp)
    frame = pd.concat(parts, axis=1).iloc[rows]
    return (
        frame.groupby(list(frame.columns), sort=False, dropna=False).ngroup().to_numpy()
    )


def _radius(points: np.ndarray, near: float) -> float:
    """Return how near is too near for chance, at most a part of the usual distance.

    Of points in d dimensions, the probability that the nearest one is within r grows as
    r to the power of d; the quartiles of that distance tell d.
    """
    if len(points) < 2 or not points.shape[1]:
        return 0.0
    chosen = np.random.RandomState(0).permutation(len(points))[:_SAMPLE]
    neighbors = NearestNeighbors(n_neighbors=2).fit(points)
    distances = neighbors.kneighbors(points[chosen])[0][:, 1]
    quarter, half = np.quantile(distances, [0.25, 0.5])
    if quarter == 0:
        return 0.0
    # The distances are as of a Weibull variable, with 1 - 2 ** -((r / half) ** d).
    ratio = np.log(0.75) / np.log(0.5)
    inverse_d = min(np.log(quarter / half) / np.log(ratio), 1.0)
    by_chance = (_BY_CHANCE / (np.log(2) * len(points))) ** inverse_d
    return float(half * min(near, by_chance))


def _nearest_by_chance(points: np.ndarray, groups: np.ndarray) -> float:
    """Return the least distance in tables whose columns are shuffled by themselves."""
    rng = np.random.RandomState(0)
    if len(points) < 2 or not points.shape[1]:
        return 0.0
    # Other words are further apart than any numbers.
    apart = 1 + 2 * np.abs(points).max() * np.sqrt(points.shape[1])
    columns = [*points.T, apart * groups]
    least = []
    for _ in range(_SHUFFLED):
        shuffled = np.stack([rng.permutation(column) for column in columns], axis=1)
        shuffled = np.unique(shuffled, axis=0)
        if len(shuffled) > 1:
            nearest = NearestNeighbors(n_neighbors=2).fit(shuffled)
            least.append(nearest.kneighbors(shuffled)[0][:, 1].min())
    return float(min(least, default=0.0))


def _first_within(points: np.ndarray, radius: float) -> np.ndarray:
    """Return the first point within a radius of each; itself if no earlier one is."""
    if not points.shape[1]:  # nothing tells them apart
        return np.zeros(len(points), dtype=np.intp)
    projected = points
    if min(points.shape) > _MOST_DIMENSIONS:
        # Nowhere are projections further apart than the points.
        projected = PCA(_MOST_DIMENSIONS, random_state=0).fit_transform(points)
    tree, reach = KDTree(projected), radius * (1 + 1e-9)
    if tree.count_neighbors(tree, reach) > _MOST_NEIGHBOURS * len(points):
        return _first_of_many(points, radius)
    # Equal numbers beside other words have no distance at all.
    pairs = tree.query_pairs(reach, output_type="ndarray")
    earlier, later = pairs[_distances(points, pairs) <= radius].T
    first = np.arange(len(points))
    np.minimum.at(first, later, earlier)
    return first


def _first_of_many(points: np.ndarray, radius: float) -> np.ndarray:
    """Return the same where projections of most points are near, as those of noise.

    All distances, some rows at a time: |a|² + |b|² - 2ab takes a product of matrices.
    """
    centered = points - points.mean(axis=0)
    squares = np.square(centered).sum(axis=1)
    # More than the share by which rounding may change such a sum.
    error = 4 * (points.shape[1] + 3) * np.finfo(np.float64).eps
    first = np.arange(len(points))
    for rows in np.array_split(first.copy(), len(points) ** 2 // _BLOCK + 1):
        start, end = rows[0], rows[-1] + 1
        sums = squares[rows, None] + squares[:end]
        excess = sums - 2 * centered[rows] @ centered[:end].T - radius**2
        earlier = np.tri(len(rows), end, start - 1, dtype=bool)
        near = earlier & (excess < -error * sums)
        # What rounding, or an overflow, may have changed is computed one by one.
        unsure = np.argwhere(earlier & ~(np.abs(excess) > error * sums))
        sure = unsure[_distances(points, unsure + [start, 0]) <= radius]
        near[tuple(sure.T)] = True
        found = near.any(axis=1)
        first[rows[found]] = near[found].argmax(axis=1)
    return first


def _distances(points: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the distances of pairs of points, of shape (n_pairs,)."""
    parts = np.array_split(pairs, len(pairs) // _AT_ONCE + 1)
    return np.concatenate(
        [
            np.linalg.norm(points[a] - points[b], axis=1)
            for a, b in map(np.transpose, parts)
        ]
    )
