"""Label noise whose truth is known."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state


def flip_labels(
    y: Any,
    fraction: float,
    *,
    classes: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Any, NDArray[np.bool_]]:
    """Replace a fraction of the labels by other classes, and say which.

    The samples are drawn uniformly without replacement, and each of them gets
    one of the *other* classes, all with the same probability [1]_.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        The class labels: integers, booleans, strings or categories.
    fraction : float
        The share of labels to flip, between 0 and 1: exactly
        ``round(fraction * n_samples)`` of them.
    classes : array-like of shape (n_classes,), default=None
        The classes to draw from; by default those that occur in ``y``.
    random_state : int, RandomState instance or None, default=None
        Pass an int for the same flips each time. With the same int, the flips
        at a smaller fraction are among those at a larger one.

    Returns
    -------
    y_noisy : ndarray or Series of shape (n_samples,)
        A copy of ``y`` with the flips. A pandas Series keeps its index, name and
        dtype, an array its dtype; a list comes back as an array.
    flipped : ndarray of shape (n_samples,), dtype bool
        True where the label was flipped.

    Raises
    ------
    ValueError
        If ``fraction`` is not between 0 and 1; if ``y`` is not one-dimensional, is
        continuous, has missing labels or labels outside ``classes``; if there are
        fewer than two classes, or the dtype of ``y`` cannot hold them.

    References
    ----------
    .. [1] D. Angluin, P. Laird, "Learning From Noisy Examples", Machine
       Learning 2, 1988.

    Examples
    --------
    >>> from skinfluence.datasets import flip_labels
    >>> y = ["ham", "ham", "spam", "ham", "spam"]
    >>> y_noisy, flipped = flip_labels(y, 0.4, random_state=0)
    >>> int(flipped.sum())
    2
    >>> bool(((y_noisy != y) == flipped).all())
    True
    """
    if not (isinstance(fraction, Real) and 0 <= fraction <= 1):
        raise ValueError(f"`fraction` must be between 0 and 1, got {fraction!r}.")
    labels = _check_labels(y)
    known = _check_classes(y, labels, classes)
    n_samples, n_flipped = len(labels), round(float(fraction) * len(labels))
    rng = check_random_state(random_state)
    # All samples are permuted, whatever the fraction, so that the flips are nested.
    chosen = rng.permutation(n_samples)[:n_flipped]
    shift = rng.randint(1, len(known), size=n_flipped)
    codes = np.searchsorted(known, labels[chosen])
    flipped = np.zeros(n_samples, dtype=bool)
    flipped[chosen] = True
    return _replace(y, chosen, known[(codes + shift) % len(known)]), flipped


def _check_labels(y: Any) -> NDArray[Any]:
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise ValueError(
            f"`y` must be one-dimensional, got shape {labels.shape}. "
            "Flip the columns of several outputs one by one."
        )
    if pd.isna(labels).any():
        raise ValueError("`y` must have no missing labels. Drop or impute them first.")
    if labels.dtype.kind == "f" and np.any(labels != np.round(labels)):
        raise ValueError("`y` must be class labels, got continuous values.")
    return labels


def _check_classes(
    y: Any, labels: NDArray[Any], classes: ArrayLike | None
) -> NDArray[Any]:
    """Check the classes against the labels and their dtype; return them sorted."""
    where = "`y`" if classes is None else "`classes`"
    try:
        known = np.unique(labels if classes is None else np.asarray(classes))
    except TypeError as error:
        raise ValueError(f"{where} must hold labels of one type: {error}.") from error
    if len(known) < 2:
        raise ValueError(
            f"{where} must hold at least two classes, got {known.tolist()}."
        )
    if classes is None:
        return known
    # Sets and lists tell 1 from "1"; numpy's comparisons need not.
    strange = set(labels.tolist()) - set(known.tolist())
    if strange:
        raise ValueError(
            f"`classes` must hold every label of `y`, but lacks {strange}."
        )
    if not _fits(y, labels, known):
        raise ValueError(
            f"The dtype of `y` ({getattr(y, 'dtype', labels.dtype)}) must be able to "
            f"hold all `classes`, got {known.tolist()}. Convert `y` first."
        )
    return known


def _fits(y: Any, labels: NDArray[Any], known: NDArray[Any]) -> bool:
    dtype = getattr(y, "dtype", labels.dtype)
    if isinstance(dtype, pd.CategoricalDtype):
        return set(known.tolist()) <= set(dtype.categories.tolist())
    try:
        held = (pd.Series(known) if isinstance(y, pd.Series) else known).astype(dtype)
    except (TypeError, ValueError, OverflowError):
        return False
    return bool(held.tolist() == known.tolist())


def _replace(y: Any, chosen: NDArray[np.intp], new: NDArray[Any]) -> Any:
    """Copy ``y`` and put the new labels at the chosen positions."""
    if isinstance(y, pd.Series):
        series = y.copy()
        series.iloc[chosen] = new
        return series
    array = np.array(y)
    array[chosen] = new
    return array
