"""Checks of class labels, and labels put in the place of others."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._numbers import is_real


def check_fraction(name: str, value: object) -> float:
    """Return a share of the samples; refuse what is none."""
    if not (is_real(value) and 0 <= value <= 1):
        raise ValueError(f"`{name}` must be between 0 and 1, got {value!r}.")
    return float(value)


def check_labels(y: ArrayLike) -> NDArray[Any]:
    """Return class labels as an array; refuse what is none."""
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise ValueError(
            f"`y` must be one-dimensional, got shape {labels.shape}. "
            "Flip the columns of several outputs one at a time."
        )
    if pd.isna(labels).any():
        raise ValueError("`y` must have no missing labels. Drop or impute them first.")
    if labels.dtype.kind == "f" and np.any(labels != np.round(labels)):
        raise ValueError("`y` must be class labels, got continuous values.")
    return labels


def check_classes(
    y: ArrayLike, labels: NDArray[Any], classes: ArrayLike | None
) -> NDArray[Any]:
    """Check the classes against the labels and their dtype; return them sorted."""
    where = "`y`" if classes is None else "`classes`"
    try:
        names = np.unique(labels if classes is None else np.asarray(classes))
    except TypeError as error:
        raise ValueError(f"{where} must hold labels of one type: {error}.") from error
    if len(names) < 2:
        raise ValueError(
            f"{where} must hold at least two classes, got {names.tolist()}."
        )
    if classes is None:
        return names
    # As sets: numpy may convert 1 to "1" before it compares them.
    missing = set(labels.tolist()) - set(names.tolist())
    if missing:
        raise ValueError(
            f"`classes` must contain all labels of `y`, but lacks {missing}."
        )
    if not _fits(y, labels, names):
        raise ValueError(
            f"The dtype of `y` ({getattr(y, 'dtype', labels.dtype)}) must be able to "
            f"hold all `classes`, got {names.tolist()}. Convert `y` first."
        )
    return names


def _fits(y: ArrayLike, labels: NDArray[Any], names: NDArray[Any]) -> bool:
    dtype = getattr(y, "dtype", labels.dtype)
    if isinstance(dtype, pd.CategoricalDtype):
        return set(names.tolist()) <= set(dtype.categories.tolist())
    try:
        held = (pd.Series(names) if isinstance(y, pd.Series) else names).astype(dtype)
    except (TypeError, ValueError, OverflowError):
        return False
    return bool(held.tolist() == names.tolist())


def other_classes(
    names: NDArray[Any], labels: NDArray[Any], rng: np.random.RandomState
) -> NDArray[Any]:
    """Draw for each label one of the *other* classes, all with equal probability."""
    # A shift by 1 to n_classes - 1 never gives the old class.
    shift = rng.randint(1, len(names), size=len(labels))
    others: NDArray[Any] = names[(np.searchsorted(names, labels) + shift) % len(names)]
    return others


def replaced(
    y: ArrayLike, chosen: NDArray[np.intp], new: NDArray[Any]
) -> tuple[Any, NDArray[np.bool_]]:
    """Return a copy of ``y`` with new labels at the chosen positions, and which."""
    flipped = np.zeros(len(np.asarray(y)), dtype=bool)
    flipped[chosen] = True
    if isinstance(y, pd.Series):
        series = y.copy()
        series.iloc[chosen] = new
        return series, flipped
    array = np.array(y)
    array[chosen] = new
    return array, flipped
