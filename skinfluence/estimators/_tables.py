"""What arrays and tables of other libraries hold, in NumPy's dtypes."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from skorch.utils import to_numpy
from torch import Tensor


def plain_targets(y: object, name: str = "y") -> Any:
    """Return targets as an array of NumPy's own dtypes; refuse missing ones and dates.

    scikit-learn makes pandas' nullable and Arrow integers float64, which does not hold
    all of them.

    Parameters
    ----------
    y : array-like or None
        The targets, in any container.
    name : str
        What they are called in an error.

    Returns
    -------
    ndarray, or what was given if it is no array
        The same targets.

    Raises
    ------
    ValueError
        If a target is missing (None, NaN or NA among labels), or is a date.
    """
    y = on_cpu(y)
    if hasattr(y, "__array__"):
        y = np.asarray(y)
    elif isinstance(y, Sequence) and any(each is None for each in y):
        y = np.asarray(y, dtype=object)
    if not isinstance(y, np.ndarray):
        return y
    if _holds_dates(y):
        raise ValueError(
            f"`{name}` must be labels or numbers, got dates or times. Turn them into "
            "numbers, such as days since the first."
        )
    # scikit-learn finds NaN among numbers.
    if y.dtype == object and y.ndim and (missing := _missing_rows(y)).size:
        raise ValueError(
            f"`{name}` must have no missing values, got {len(missing)}, the first in "
            f"row {missing[0]}. Leave these samples out."
        )
    return y


def check_no_dates(X: object) -> None:
    """Refuse inputs that are dates or times."""
    for name, column in _columns(X):
        if _holds_dates(column):
            where = "" if name is None else f" in {name!r}"
            raise ValueError(
                f"X must hold numbers, got dates or times{where}. Turn them into "
                "numbers, such as days since the first."
            )


def table_dtype(X: object) -> np.dtype[Any] | None:
    """Return the dtype of all of a table; None if it is no table or not numbers.

    scikit-learn knows it for columns of NumPy's dtypes, and makes others float32.
    """
    if isinstance(X, pd.DataFrame):
        dtypes = [getattr(dtype, "numpy_dtype", dtype) for dtype in X.dtypes]
        if not all(isinstance(dtype, np.dtype) for dtype in dtypes):
            return None
        dtype = np.result_type(*dtypes) if dtypes else np.dtype(object)
        if dtype.kind != "f" and X.isna().to_numpy().any():
            return None
    elif hasattr(X, "__array__") and not hasattr(X, "dtype"):
        dtype = np.asarray(X).dtype
    else:
        return None
    return dtype if dtype.kind in "fiub" else None


def check_weights(
    weights: object, n_samples: int, name: str = "sample_weight", samples: str = "X"
) -> np.ndarray | None:
    """Return non-negative weights of that many samples, not all 0; or None for none."""
    if weights is None:
        return None
    try:
        values = np.asarray(on_cpu(weights), dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` must be numbers, got {weights!r}.") from None
    if values.shape != (n_samples,):
        raise ValueError(
            f"`{name}` must have one number for each of the {n_samples} rows of "
            f"{samples}, got shape {values.shape}."
        )
    wrong = values[~((values >= 0) & (values < np.inf))]
    if len(wrong):
        raise ValueError(
            f"`{name}` must not be negative, infinite or NaN, got {wrong[0]:g}."
        )
    if not values.any():
        raise ValueError(f"`{name}` must have a positive sum, got only zeros.")
    return values


def on_cpu(data: object) -> Any:
    """Return a tensor as an array, and all else as it is."""
    return to_numpy(data) if isinstance(data, Tensor) else data


def _missing_rows(y: np.ndarray) -> np.ndarray:
    return np.flatnonzero(pd.isna(y).reshape(len(y), -1).any(axis=1))


def _columns(X: Any) -> Iterator[tuple[object, np.ndarray]]:
    """Yield the names and columns of a table, or an array as a whole."""
    if isinstance(X, pd.DataFrame):
        for place, name in enumerate(X.columns):
            yield name, np.asarray(X.iloc[:, place])
    elif hasattr(X, "__array__") and not hasattr(X, "dtype"):
        # pyarrow calls the names otherwise than polars.
        names = getattr(X, "column_names", None) or getattr(X, "columns", None)
        if names is None:
            yield None, np.asarray(X)
        for name in () if names is None else names:
            yield name, np.asarray(X[name])
    elif isinstance(X, np.ndarray):
        yield None, X


def _holds_dates(values: np.ndarray) -> bool:
    if values.dtype != object:
        return values.dtype.kind in "mM"
    return any(isinstance(each, (date, timedelta)) for each in values.flat)
