"""Label noise that depends on the class."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._numbers import random_generator
from ._labels import check_classes, check_fraction, check_labels, replaced


def flip_labels_by_class(
    y: ArrayLike,
    transition: ArrayLike | str,
    *,
    rate: float | None = None,
    classes: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Any, NDArray[np.bool_]]:
    r"""Replace labels at random by a transition matrix, and return which.

    Class-conditional noise [1]_: each label is drawn anew, independently, from the row
    of its true class,

    .. math:: T_{jk} = P(\tilde y = k \mid y = j).

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        The class labels: integers, booleans, strings or categories.
    transition : array-like of shape (n_classes, n_classes), or "pair"
        The transition matrix: a row for each true class, whose entries are not negative
        and sum to 1; of a DataFrame, the names of rows and columns say which class they
        are of. ``"pair"`` is pair flipping [2]_: each class is mistaken for the
        next one, and the last for the first, with probability `rate`.
    rate : float, optional
        The probability of a flip, between 0 and 1; for ``"pair"`` only.
    classes : array-like of shape (n_classes,), default=None
        The classes, in the order of the matrix's rows and columns; by default those in
        ``y``, sorted.
    random_state : int, RandomState instance or None, default=None
        Pass an int for reproducible flips.

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
        If ``transition`` is no such matrix for the classes; if ``rate`` is given with a
        matrix, or is missing without one; and for the labels and classes as in
        :func:`flip_labels`.

    See Also
    --------
    flip_labels : Every other class is as likely.

    References
    ----------
    .. [1] G. Patrini, A. Rozza, A. Menon, R. Nock, L. Qu, "Making Deep Neural Networks
       Robust to Label Noise: A Loss Correction Approach", CVPR 2017.
    .. [2] B. Han, Q. Yao, X. Yu, G. Niu, M. Xu, W. Hu, I. Tsang, M. Sugiyama,
       "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy
       Labels", NeurIPS 2018.

    Examples
    --------
    Spam passes as ham, and ham is always recognized:

    >>> from skinfluence.datasets import flip_labels_by_class
    >>> y = ["ham", "spam"] * 500
    >>> T = [[1, 0], [0.3, 0.7]]
    >>> y_noisy, flipped = flip_labels_by_class(y, T, random_state=0)
    >>> sorted({y[i] for i in flipped.nonzero()[0]})
    ['spam']
    >>> round(float(flipped[1::2].mean()), 1)
    0.3
    """
    labels = check_labels(y)
    names = check_classes(y, labels, classes)
    order = _in_order(names, classes)
    bounds = np.cumsum(_matrix(transition, rate, order), axis=1)
    # Rounding must not leave a gap, into which a class of probability 0 would fall.
    bounds /= bounds[:, -1:]
    codes = np.argsort(order)[np.searchsorted(names, labels)]
    draws = random_generator(random_state).random_sample(len(labels))
    drawn = (draws[:, None] >= bounds[codes]).sum(axis=1)
    chosen = np.flatnonzero(drawn != codes)
    return replaced(y, chosen, order[drawn[chosen]])


def _in_order(names: NDArray[Any], classes: ArrayLike | None) -> NDArray[Any]:
    """Return the classes in the order in which they were given."""
    order = names if classes is None else np.asarray(classes)
    if len(order) != len(names):
        raise ValueError(f"`classes` must hold each class once, got {order.tolist()}.")
    return order


def _matrix(transition: Any, rate: object, order: NDArray[Any]) -> NDArray[np.float64]:
    if isinstance(transition, str):
        return _named_matrix(transition, rate, len(order))
    if rate is not None:
        raise ValueError(
            "`rate` must be None with a matrix, which holds the rates itself, got "
            f"{rate!r}."
        )
    if isinstance(transition, pd.DataFrame):
        transition = _in_order_of(order.tolist(), transition)
    matrix = _numbers(transition)
    if matrix.shape != (len(order), len(order)):
        raise ValueError(
            f"`transition` must have a row and a column for each of the {len(order)} "
            f"classes {order.tolist()}, got shape {matrix.shape}."
        )
    # Negated, so that NaN is refused too.
    if not (matrix >= 0).all() or not np.allclose(matrix.sum(axis=1), 1):
        raise ValueError(
            "`transition` must have rows of probabilities that sum to 1, got "
            f"{matrix.tolist()}."
        )
    return matrix


def _in_order_of(classes: list[Any], table: pd.DataFrame) -> pd.DataFrame:
    """Return a table's rows and columns in the order of the classes."""
    for axis in table.axes:
        if len(axis) != len(classes) or set(axis) != set(classes):
            raise ValueError(
                "`transition`, a DataFrame, must have a row and a column by the name "
                f"of each class, {classes}, got {axis.tolist()}. Pass its values, in "
                "the order of `classes`, if the names mean something else."
            )
    # Not loc, for which booleans are a mask.
    return table.reindex(index=classes, columns=classes)


def _numbers(transition: Any) -> NDArray[np.float64]:
    try:
        return np.asarray(transition, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`transition` must be 'pair' or a matrix of numbers, got {transition!r}."
        ) from error


def _named_matrix(name: str, rate: object, n_classes: int) -> NDArray[np.float64]:
    if name != "pair":
        raise ValueError(f"`transition` must be 'pair' or a matrix, got {name!r}.")
    share, own = check_fraction("rate", rate), np.eye(n_classes)
    return (1 - share) * own + share * np.roll(own, 1, axis=1)
