"""Numbers changed in a fraction of the rows."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_float_dtype

from .._numbers import is_real
from ._columns import is_number, numbers_of, put

Change = Callable[[NDArray[np.float64], np.random.RandomState], NDArray[np.float64]]
"""``change(values, rng) -> values``, of a whole column."""


def corrupted(
    frame: pd.DataFrame,
    places: Sequence[int],
    fraction: float,
    change: Change,
    rng: np.random.RandomState,
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Change columns in a fraction of the rows; return the table, and which rows."""
    # All rows are permuted and changed whatever the fraction, so that less noise is
    # part of more.
    order = rng.permutation(len(frame))
    columns = [frame.iloc[:, place] for place in places]
    changed = [_changed(column, change, rng) for column in columns]
    differs = [
        np.asarray(new.notna()) & (numbers_of(new) != numbers_of(old))
        for old, new in zip(columns, changed, strict=True)
    ]
    # A row that comes out as it was, such as zeros times 100, is not noisy.
    able = np.any(differs, axis=0)
    count = round(fraction * len(frame))
    if able.sum() < count:
        raise ValueError(
            f"`fraction` must be at most the share of rows that can change, "
            f"{able.mean():.3g}, got {fraction}."
        )
    noisy = np.zeros(len(frame), dtype=bool)
    noisy[order[able[order]][:count]] = True
    table = frame.copy()
    for place, old, new in zip(places, columns, changed, strict=True):
        put(table, place, old.where(~noisy, new))
    return table, noisy


def check_positive(name: str, value: object) -> float:
    """Return a finite number above 0; refuse what is none."""
    if not (is_real(value) and 0 < value < np.inf):
        raise ValueError(f"`{name}` must be a finite number above 0, got {value!r}.")
    return float(value)


def number_places(frame: pd.DataFrame) -> list[int]:
    """Return the places of all columns of numbers."""
    found = [k for k in range(frame.shape[1]) if is_number(frame.iloc[:, k])]
    if not found:
        raise ValueError("`X` must have a column of numbers, but has none.")
    return found


def _changed(
    column: pd.Series, change: Change, rng: np.random.RandomState
) -> pd.Series:
    """Return a whole column changed, in its dtype."""
    if not is_number(column):
        raise ValueError(
            f"The column {column.name!r} must hold numbers, got dtype {column.dtype}."
        )
    values = change(numbers_of(column), rng)
    try:
        # What the dtype cannot hold is told by the comparison.
        with np.errstate(all="ignore"):
            new = pd.Series(values, column.index, name=column.name).astype(column.dtype)
        held = new.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        held = np.full(len(values), np.inf)
    rounded = is_float_dtype(column.dtype) or np.array_equal(held, values, True)
    if np.isinf(held).any() or not rounded:
        raise ValueError(
            f"The column {column.name!r} must have a dtype that can hold the noise, "
            f"got {column.dtype}. Convert it to floating numbers first."
        )
    return new
