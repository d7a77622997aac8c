"""Label noise with known ground truth."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._numbers import is_real, random_generator


def flip_labels(
    y: ArrayLike,
    fraction: float,
    *,
    classes: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Any, NDArray[np.bool_]]:
    """Replace a fraction of the labels with other classes, and return which.

    The samples are drawn uniformly without replacement, and each of them gets one of
    the *other* classes with equal probability [1]_.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        The class labels: integers, booleans, strings or categories.
    fraction : float
        The fraction of labels to flip, between 0 and 1: exactly
        ``round(fraction * n_samples)`` labels.
    classes : array-like of shape (n_classes,), default=None
        The classes to draw from; by default those in ``y``.
    random_state : int, RandomState instance or None, default=None
        Pass an int for reproducible flips. With the same int, the flips at a smaller
        fraction are a subset of those at a larger one.

    Returns
    -------
    y_noisy : ndarray or Series of shape (n_samples,)
        A copy of ``y`` with flipped labels. A Series keeps its index, name and dtype,
        an array its dtype; a list becomes an array.
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
    if not (is_real(fraction) and 0 <= fraction <= 1):
        raise ValueError(f"`fraction` must be between 0 and 1, got {fraction!r}.")
    labels = _check_labels(y)
    names = _check_classes(y, labels, classes)
    n_samples, n_flipped = len(labels), round(float(fraction) * len(labels))
    rng = random_generator(random_state)
    # Permute all samples whatever the fraction, so that the flips are nested.
    chosen = rng.permutation(n_samples)[:n_flipped]
    # A shift by 1 to n_classes - 1 never gives the old class.
    shift = rng.randint(1, len(names), size=n_flipped)
    codes = np.searchsorted(names, labels[chosen])
    flipped = np.zeros(n_samples, dtype=bool)
    flipped[chosen] = True
    return _replace(y, chosen, names[(codes + shift) % len(names)]), flipped


def _check_labels(y: ArrayLike) -> NDArray[Any]:
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


def _check_classes(
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


def _replace(y: ArrayLike, chosen: NDArray[np.intp], new: NDArray[Any]) -> Any:
    """Copy ``y`` and put the new labels at the chosen positions."""
    if isinstance(y, pd.Series):
        series = y.copy()
        series.iloc[chosen] = new
        return series
    array = np.array(y)
    array[chosen] = new
    return array
