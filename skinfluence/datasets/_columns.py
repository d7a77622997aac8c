"""Columns of arrays and DataFrames alike."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype

from .._numbers import is_integer


def as_frame(X: Any) -> pd.DataFrame:
    """Return a copy of the columns as a DataFrame; an array's are named 0, 1, ...."""
    if isinstance(X, pd.DataFrame):
        return X.copy()
    array = np.asarray(X)
    if array.ndim != 2 or array.dtype.kind not in "biufO":
        raise ValueError(
            "`X` must be a DataFrame or a two-dimensional array of numbers or objects, "
            f"got {type(X).__name__} of shape {np.shape(X)} and dtype {array.dtype}."
        )
    return pd.DataFrame(array, copy=True)


def like(X: Any, frame: pd.DataFrame) -> Any:
    """Return the columns in the container that was given; a list becomes an array."""
    if isinstance(X, pd.DataFrame):
        return frame
    return frame.to_numpy(dtype=np.asarray(X).dtype)


def place_of(name: str, column: Any, frame: pd.DataFrame) -> int:
    """Return the place of a column: of its name in a DataFrame, number in an array."""
    try:
        place = frame.columns.get_loc(column)
    except (KeyError, TypeError, pd.errors.InvalidIndexError):
        place = None
    if not is_integer(place):
        raise ValueError(
            f"`{name}` must be among the columns of `X`, {frame.columns.tolist()}, and "
            f"name one of them only, got {column!r}."
        )
    return int(place)


def places_of(columns: Any, frame: pd.DataFrame) -> list[int]:
    """Return the places of several columns."""
    several = isinstance(columns, (Sequence, np.ndarray, pd.Index))
    # The masked constant is an array without axes.
    if isinstance(columns, str) or not several or np.ndim(columns) == 0:
        raise ValueError(f"`columns` must be a sequence of columns, got {columns!r}.")
    found = [place_of("columns", column, frame) for column in columns]
    if not found or len(set(found)) < len(found):
        raise ValueError(
            f"`columns` must hold at least one column, and each once, got {columns!r}."
        )
    return found


def put(frame: pd.DataFrame, place: int, column: Any) -> None:
    """Put a column in the place of another, as a Series: its dtype stays."""
    frame.isetitem(place, column)


def is_number(column: pd.Series) -> bool:
    """Whether a column holds real numbers; booleans are none."""
    other = is_bool_dtype(column.dtype) or is_complex_dtype(column.dtype)
    return is_numeric_dtype(column.dtype) and not other


def numbers_of(column: pd.Series) -> NDArray[np.float64]:
    """Return a column's numbers; NaN where they are missing."""
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        raise ValueError(f"The column {column.name!r} must hold finite numbers.")
    return values


def vary(values: NDArray[np.float64]) -> bool:
    """Whether there are numbers, none missing, that differ."""
    return len(values) > 0 and bool(np.ptp(values) > 0)
