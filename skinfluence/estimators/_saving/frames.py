"""Frames of pandas decomposed into arrays, and back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

FRAMES = (pd.DataFrame, pd.Series, pd.Index, pd.api.extensions.ExtensionArray)
"""What is decomposed here."""


def decomposed(value: Any) -> tuple[Any, ...] | None:
    """Return the kind of a frame, column or index, and its parts.

    None for one that can only be pickled, such as one of a class of a user's own, or
    of dates with a time zone.
    """
    match type(value):
        case pd.DataFrame:
            columns = [value.iloc[:, k].array for k in range(value.shape[1])]
            return "frame", value.index, value.columns, list(map(_plain, columns))
        case pd.Series:
            return "series", value.index, value.name, _plain(value.array)
        case pd.RangeIndex:
            return "range", value.start, value.stop, value.step, value.name
        case pd.Index | pd.CategoricalIndex | pd.DatetimeIndex | pd.TimedeltaIndex:
            return "index", _plain(value.array), value.name
        case pd.Categorical:
            return "categorical", value.codes, value.categories, value.ordered
    return _decomposed_array(value)


def _decomposed_array(array: Any) -> tuple[Any, ...] | None:
    """Return the cells of an array of texts, truth values or numbers with NA."""
    dtype = getattr(array, "dtype", None)
    if isinstance(dtype, (pd.StringDtype, pd.BooleanDtype)) or _is_masked(dtype):
        return "array", [None if pd.isna(x) else x for x in array], str(dtype)
    return None


def recomposed(kind: str, *parts: Any) -> Any:
    """Return what :func:`decomposed` has taken apart."""
    return _MAKERS[kind](*parts)


def _plain(column: Any) -> Any:
    """Return a column's array as one of numpy, if that is what it holds."""
    numpys = type(column) is pd.arrays.NumpyExtensionArray  # one of texts derives
    return column.to_numpy() if numpys or isinstance(column.dtype, np.dtype) else column


def _is_masked(dtype: object) -> bool:
    name = str(dtype)
    return name[:1].isupper() and name.rstrip("0123456789") in ("Int", "UInt", "Float")


def _frame(index: Any, columns: Any, values: list[Any]) -> pd.DataFrame:
    # By number: names of columns may be repeated.
    frame = pd.DataFrame(dict(enumerate(values)), index=index)
    return frame.set_axis(columns, axis=1)


_MAKERS: dict[str, Callable[..., Any]] = {
    "frame": _frame,
    "series": lambda index, name, values: pd.Series(values, index, name=name),
    "range": lambda start, stop, step, name: pd.RangeIndex(
        start, stop, step, name=name
    ),
    "index": lambda values, name: pd.Index(values, name=name),
    "categorical": lambda codes, categories, ordered: pd.Categorical.from_codes(
        codes, categories, ordered=ordered
    ),
    "array": lambda cells, dtype: pd.array(cells, dtype=dtype),
}
