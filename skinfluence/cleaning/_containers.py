"""A user's containers: rows taken from them, and cleaned targets put into them."""

from typing import Any, cast

import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import indexable

from ._data import Samples, kind_of_container


def check_writable(y: Any) -> None:
    """Refuse targets of which none can be changed."""
    first = _safe_indexing(indexable(y)[0], [0])
    try:
        _written(first, np.zeros(1, dtype=np.intp), np.asarray(first)[:1])
    except Exception as error:
        raise TypeError(
            "`y` must be an array, a list or a Series whose values can be changed, got "
            f"{kind_of_container(y)}. Turn it into one, or clean without changing "
            "labels."
        ) from error


def kept_rows(X: Samples, kept: np.ndarray) -> Any:
    """Return the kept rows of the samples, in the container that was given."""
    rows = _safe_indexing(indexable(X)[0], kept)
    # indexable made it CSR.
    return rows.asformat(cast(Any, X).format) if sparse.issparse(X) else rows


def targets_like(y: Any, cleaned: np.ndarray, kept: np.ndarray) -> Any:
    """Return the cleaned targets in the container that was given."""
    if sparse.issparse(y):  # of which no value is changed
        return kept_rows(y, kept)
    targets = _safe_indexing(indexable(y)[0], kept)
    before = np.asarray(targets)
    cleaned = cleaned.reshape(before.shape)
    # Only changed rows are written: a container keeps all other objects as they are.
    rows = np.flatnonzero((before != cleaned).reshape(len(cleaned), -1).any(axis=1))
    if before.dtype.kind in "iub" and cleaned.dtype.kind == "f":
        # A decision may turn a whole number into a fraction.
        targets = _as_float(targets)
    return _written(targets, rows, cleaned[rows]) if len(rows) else targets


def _as_float(targets: Any) -> Any:
    if hasattr(targets, "astype"):
        return targets.astype(np.float64)
    return targets.cast(float) if hasattr(targets, "cast") else targets


def _written(targets: Any, rows: np.ndarray, values: np.ndarray) -> Any:
    """Return the targets with other values in some rows."""
    if hasattr(targets, "scatter"):  # a Series of polars
        written = targets.scatter(rows.tolist(), values.tolist())
        # Before 1.32 polars writes nothing in the place of another category.
        if (np.asarray(written)[rows] != values).any():
            raise TypeError(
                f"This version of polars cannot change values of {targets.dtype}: cast "
                "y to String, or install polars 1.32 or later."
            )
        return written
    places = targets.iloc if hasattr(targets, "iloc") else targets
    for row, value in zip(rows, values.reshape(len(rows), -1), strict=True):
        places[row] = value if len(value) > 1 else value[0]
    return targets
