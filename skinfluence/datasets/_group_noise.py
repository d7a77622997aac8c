"""Label noise in one group of samples."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._numbers import random_generator
from ._labels import (
    check_classes,
    check_fraction,
    check_labels,
    other_classes,
    replaced,
)


def flip_labels_by_group(
    y: ArrayLike,
    groups: ArrayLike,
    fraction: float,
    *,
    group: object = None,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Any, NDArray[np.bool_]]:
    """Replace a fraction of the labels of one group, and return which.

    Clustered noise: an annotator who is wrong on one kind of sample, such as a cluster,
    a site or a batch of forms. In the group the samples are drawn uniformly without
    replacement, and each of them gets one of the *other* classes with equal
    probability; all other samples keep their labels.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        The class labels: integers, booleans, strings or categories.
    groups : array-like of shape (n_samples,)
        The group of each sample, such as its cluster.
    fraction : float
        The fraction of the group's labels to flip, between 0 and 1: exactly
        ``round(fraction * n_samples_in_group)`` labels.
    group : object, default=None
        Which group; by default one that is drawn, all with equal probability.
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
        If ``groups`` does not hold one group for each sample, or lacks ``group``; and
        for the labels and the fraction as in :func:`flip_labels`.

    See Also
    --------
    flip_labels : Every sample is as likely.

    Examples
    --------
    An annotator who takes one kind of flower for others, half of the time:

    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence.datasets import flip_labels_by_group
    >>> X, y = load_iris(return_X_y=True)
    >>> kinds = KMeans(5, random_state=0).fit_predict(X)
    >>> y_noisy, flipped = flip_labels_by_group(y, kinds, 0.5, random_state=0)
    >>> len(set(kinds[flipped]))
    1
    """
    fraction = check_fraction("fraction", fraction)
    labels = check_labels(y)
    names = check_classes(y, labels, None)
    codes, kinds = _check_groups(groups, len(labels))
    rng = random_generator(random_state)
    # Drawn even if it is given, so that the flips in that group are the same.
    drawn = rng.randint(len(kinds))
    code = drawn if group is None else _code(group, kinds)
    rows = rng.permutation(np.flatnonzero(codes == code))
    chosen = rows[: round(fraction * len(rows))]
    return replaced(y, chosen, other_classes(names, labels[chosen], rng))


def _check_groups(
    groups: ArrayLike, n_samples: int
) -> tuple[NDArray[np.intp], list[Any]]:
    """Return the number of each sample's group, and the groups."""
    given = np.asarray(groups)
    if given.shape != (n_samples,):
        raise ValueError(
            f"`groups` must hold one group for each of the {n_samples} samples, got "
            f"shape {given.shape}."
        )
    codes, kinds = pd.factorize(given)
    if (codes < 0).any():
        raise ValueError("`groups` must have no missing groups. Name them first.")
    return codes, kinds.tolist()


def _code(group: object, kinds: list[Any]) -> int:
    if group not in kinds:
        raise ValueError(f"`group` must be one of {kinds}, got {group!r}.")
    return kinds.index(group)
