"""Checks of the table and the parameters of a search for slices."""

from collections.abc import Mapping
from difflib import get_close_matches

import numpy as np
import pandas as pd

from .._numbers import is_integer, is_real
from .._values import check_list
from ._slice_columns import is_numeric

MOST_INTERVALS = 20
"""With more, the sums over all pairs of their unions would fill the memory."""

FEWEST_ROWS = 5
"""What a fraction means at least."""


def check_frame(frame: object, n_samples: int, name: str = "X_frame") -> None:
    """Refuse what is no table with a row for each training sample."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"`{name}` must be a DataFrame, got {type(frame).__name__}.")
    if len(frame) != n_samples:
        raise ValueError(
            f"`{name}` must have a row for each of the {n_samples} samples of fit, "
            f"got {len(frame)} rows."
        )
    if not frame.shape[1]:
        raise ValueError(f"`{name}` must have at least one column, got none.")
    names = pd.Index(map(str, frame.columns))
    if not names.is_unique:
        raise ValueError(
            f"`{name}` must have a different name for each column, got "
            f"{names[names.duplicated()][0]!r} twice. Rename one."
        )


def checked_columns(columns: object, frame: pd.DataFrame) -> dict[str, pd.Series]:
    names = list(frame.columns)
    if columns is not None:
        names = check_list("columns", columns, "column names")
        if not names:
            raise ValueError("`columns` must hold at least one column, got none.")
    places = [_place("columns", name, frame) for name in names]
    return {str(frame.columns[k]): frame.iloc[:, k] for k in dict.fromkeys(places)}


def _place(parameter: str, name: object, frame: pd.DataFrame) -> int:
    """Return where a column of the table is, or say which may be meant."""
    names = list(frame.columns)
    if name in names:
        return names.index(name)
    nearest = get_close_matches(str(name), map(str, names), 1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(f"`{parameter}` must be columns of `X_frame`, got {name!r}.{hint}")


def checked_intervals(intervals: object, frame: pd.DataFrame) -> dict[str, list[float]]:
    """Return the edges of each column."""
    if intervals is None:
        return {}
    if not isinstance(intervals, Mapping):
        raise TypeError(
            "`intervals` must map columns to edges, such as {'age': [18, 65]}, got "
            f"{intervals!r:.200}."
        )
    checked = {}
    for name, given in intervals.items():
        values = frame.iloc[:, _place("intervals", name, frame)]
        edges = check_list("intervals", given, "numbers for each column")
        numbers = all(map(is_real, edges)) and np.isfinite(edges).all()
        increasing = numbers and (np.diff(edges) > 0).all()
        if not 0 < len(edges) < MOST_INTERVALS or not increasing:
            raise ValueError(
                f"`intervals` must hold 1 to {MOST_INTERVALS - 1} increasing numbers "
                f"for each column, got {given!r:.200} for {name!r}."
            )
        if not is_numeric(values):
            raise ValueError(
                f"`intervals` must be of numeric columns, got {name!r} of dtype "
                f"{values.dtype}. Convert it to numbers."
            )
        checked[str(name)] = [float(edge) for edge in edges]
    return checked


def checked_support(least: object, most: object, n_samples: int) -> tuple[int, int]:
    """Return the least and largest support as counts."""
    counts = []
    for name, value in (("min_rows", least), ("max_rows", most)):
        count = is_integer(value) and 1 <= value <= n_samples
        if not count and not (is_real(value) and 0 < value <= 1):
            raise ValueError(
                f"`{name}` must be a count from 1 to the number of rows ({n_samples}), "
                f"or a fraction above 0 and up to 1.0, got {value!r}."
            )
        assert is_real(value)
        counts.append(round(value if count else value * n_samples))
    # A row or two are no group, unless they are asked for.
    counts[0] = counts[0] if is_integer(least) else max(counts[0], FEWEST_ROWS)
    if counts[0] > counts[1]:
        raise ValueError(
            f"`min_rows` must not be above `max_rows`, got {least!r} and {most!r}: "
            f"{counts[0]} and {counts[1]} of {n_samples} rows."
        )
    return counts[0], counts[1]
