"""The columns of a table as predicates: categories, intervals, months and years."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

# Numbers with few different values are not merged: months, ratings, years.
_FEW_NUMBERS = 12
_VALUE_CHARACTERS = 80


@dataclass(frozen=True)
class Predicates:
    """What can be said of one column.

    Each row is in one cell, a single value or the finest interval, and each predicate
    is a union of cells: so the sums over all predicates follow from those over cells.

    Attributes
    ----------
    cells : ndarray of shape (n_rows,), int
        The cell of each row.
    unions : ndarray of shape (n_predicates, n_cells), bool
        Which cells each predicate holds.
    words : list of str
        The predicates.
    """

    cells: np.ndarray
    unions: np.ndarray
    words: list[str]

    def rows(self, k: int) -> np.ndarray:
        """Return a mask of the rows for which a predicate holds."""
        mask: np.ndarray = self.unions[k][self.cells]
        return mask

    def with_rows(self, least: int) -> "Predicates":
        """Return those that hold for enough rows, but not for all."""
        counts = self.unions @ np.bincount(self.cells, minlength=self.unions.shape[1])
        some = (counts >= least) & (counts < len(self.cells))
        words = [word for word, kept in zip(self.words, some, strict=True) if kept]
        return replace(self, unions=self.unions[some], words=words)

    def most_frequent(self, most: int) -> tuple["Predicates", int]:
        """Return the most frequent, and the number of the others."""
        counts = self.unions @ np.bincount(self.cells, minlength=self.unions.shape[1])
        kept = np.sort(np.argsort(-counts, kind="stable")[:most])
        words = [self.words[k] for k in kept]
        some = replace(self, unions=self.unions[kept], words=words)
        return some, len(self.words) - len(kept)


def everything(n_rows: int) -> Predicates:
    """Return the predicate that holds for every row."""
    return Predicates(np.zeros(n_rows, dtype=np.intp), np.ones((1, 1), bool), [""])


def predicates_of(
    values: pd.Series,
    edges: list[float] | None,
    n_intervals: int,
    max_categories: int,
    least: int,
) -> Predicates:
    """Return the predicates over a column that hold for enough rows."""
    if is_numeric(values):
        return _of_intervals(values, edges, n_intervals).with_rows(least)
    kind = _of_months if _is_dated(values) else _of_categories
    frequent, others = kind(values).with_rows(least).most_frequent(max_categories)
    if others:
        warnings.warn(
            f"Of column {str(values.name)!r} only the {max_categories} most frequent "
            f"of {max_categories + others} values in at least {least} rows are tried. "
            "Raise `max_categories` to try more.",
            stacklevel=3,
        )
    return frequent


def is_numeric(values: pd.Series) -> bool:
    """Whether a column holds numbers, of which intervals can be made."""
    kinds = pd.api.types
    real = kinds.is_numeric_dtype(values.dtype) and not kinds.is_bool_dtype(
        values.dtype
    )
    return bool(real) and not kinds.is_complex_dtype(values.dtype)


def _is_dated(values: pd.Series) -> bool:
    """Whether a column holds dates or periods."""
    dated = pd.api.types.is_datetime64_any_dtype(values.dtype)
    return bool(dated) or isinstance(values.dtype, pd.PeriodDtype)


def _of_intervals(
    values: pd.Series, edges: Sequence[float] | None, n_intervals: int
) -> Predicates:
    """Return the unions of consecutive intervals, and the missing values.

    The intervals lie between `edges`, or else between quantiles.
    """
    name = str(values.name)
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    missing = np.isnan(numbers)
    present = np.unique(numbers[~missing])
    if edges is None:
        inner = _quantiles(numbers[~missing], present, n_intervals)
    else:
        inner = np.asarray(edges, dtype=np.float64)
    cells = np.where(missing, len(inner) + 1, np.searchsorted(inner, numbers, "right"))
    n_cells = len(inner) + 1
    first, last = np.triu_indices(n_cells)
    unions = np.zeros((len(first) + 1, n_cells + 1), dtype=bool)
    places = np.arange(n_cells)
    unions[:-1, :-1] = (first[:, None] <= places) & (places <= last[:, None])
    unions[-1, -1] = True
    bounds = [-np.inf, *inner.tolist(), np.inf]
    words = [
        _interval(name, bounds[i], bounds[j + 1], present)
        for i, j in zip(first.tolist(), last.tolist(), strict=True)
    ]
    return Predicates(cells, unions, [*words, f"{name} is missing"])


def _quantiles(numbers: np.ndarray, present: np.ndarray, n: int) -> np.ndarray:
    """Return the inner edges of intervals that hold about as many rows each.

    A value of so many rows is an interval of its own.
    """
    if len(present) <= _FEW_NUMBERS:
        starts = present
    else:
        _, places, counts = np.unique(numbers, return_inverse=True, return_counts=True)
        frequent = np.flatnonzero(counts >= len(numbers) / n)
        rest = numbers[~np.isin(places, frequent)]
        after = present[frequent[frequent < len(present) - 1] + 1]
        starts = np.concatenate([present[frequent], after])
        if len(rest):
            # The smallest intervals that the data allows: each starts at a value.
            shares = np.arange(1, n) / n
            quantiles = np.quantile(rest, shares, method="inverted_cdf")
            starts = np.concatenate([starts, quantiles])
    starts = np.unique(starts)
    starts = starts[starts > present[0]] if len(present) else starts
    before = present[np.searchsorted(present, starts) - 1]
    return np.array(
        [
            _shortest(*ends)
            for ends in zip(before.tolist(), starts.tolist(), strict=True)
        ]
    )


def _shortest(low: float, high: float) -> float:
    """Return a number of few digits above `low` and up to `high`."""
    for digits in range(1, 17):
        number = float(f"{high:.{digits}g}")
        if low < number <= high:
            return number
    return high


def _interval(name: str, low: float, high: float, present: np.ndarray) -> str:
    """Return an interval in words, with its low end and without its high one."""
    inside = present[(present >= low) & (present < high)]
    if high == np.inf:
        inside = present[present >= low]
    if low == -np.inf and high == np.inf:
        return f"{name} is given"
    if len(inside) == 1:
        return f"{name} = {_number(inside[0])}"
    if low == -np.inf:
        return f"{name} < {_number(high)}"
    if high == np.inf:
        return f"{name} ≥ {_number(low)}"
    return f"{_number(low)} ≤ {name} < {_number(high)}"


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0").replace("-", "−")


def _of_months(values: pd.Series) -> Predicates:
    """Return the months and years of dates, and the missing ones."""
    if isinstance(values.dtype, pd.PeriodDtype):
        values = values.dt.to_timestamp()
    elif values.dt.tz is not None:
        values = values.dt.tz_localize(None)
    months = values.to_numpy(dtype="datetime64[M]")
    codes, present = pd.factorize(months, sort=True)
    years = present.astype("datetime64[Y]")
    different = np.unique(years)
    cells = np.where(codes < 0, len(present), codes)
    unions = np.zeros((len(present) + len(different) + 1, len(present) + 1), bool)
    np.fill_diagonal(unions[:, :-1], True)
    unions[len(present) : -1, :-1] = different[:, None] == years
    unions[-1] = np.arange(len(present) + 1) == len(present)
    words = [f"{values.name} in {time}" for time in [*present, *different]]
    return Predicates(cells, unions, [*words, f"{values.name} is missing"])


def _of_categories(values: pd.Series) -> Predicates:
    """Return the values, and the missing ones."""
    try:
        codes, present = pd.factorize(values)
    except TypeError as error:
        raise TypeError(
            f"`X_frame` must hold numbers, dates or categories, got {error} in its "
            f"column {str(values.name)!r}. Choose others by `columns`."
        ) from error
    cells = np.where(codes < 0, len(present), codes)
    words = [f"{values.name} = {word}" for word in _distinct(list(present))]
    return Predicates(
        cells,
        np.eye(len(present) + 1, dtype=bool),
        [*words, f"{values.name} is missing"],
    )


def _distinct(values: Iterable[Any]) -> list[str]:
    """Return values as texts, each another one."""
    values = list(values)
    texts = [_text(value) for value in values]
    if len(set(texts)) == len(texts):
        return texts
    return [repr(value) for value in values]


def _text(value: object) -> str:
    text = str(value)
    plain = text == text.strip() and 0 < len(text) <= _VALUE_CHARACTERS
    return text if plain and text.isprintable() else repr(text)
