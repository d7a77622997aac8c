"""Label noise with known ground truth."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._numbers import random_generator
from ._labels import (
    check_classes,
    check_fraction,
    check_labels,
    other_classes,
    replaced,
)


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
    fraction = check_fraction("fraction", fraction)
    labels = check_labels(y)
    names = check_classes(y, labels, classes)
    rng = random_generator(random_state)
    # Permute all samples whatever the fraction, so that the flips are nested.
    chosen = rng.permutation(len(labels))[: round(fraction * len(labels))]
    return replaced(y, chosen, other_classes(names, labels[chosen], rng))
