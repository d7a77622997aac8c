"""Outliers in a target with known ground truth."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pandas.api.types import is_float_dtype

from .._numbers import random_generator
from ._columns import numbers_of, vary
from ._corruption import check_positive, corrupted
from ._labels import check_fraction


def add_outliers(
    y: ArrayLike,
    fraction: float,
    *,
    magnitude: float = 10.0,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Any, NDArray[np.bool_]]:
    """Shift a fraction of a regression's targets far away, and return which.

    Gross errors [1]_: targets that are drawn uniformly without replacement move by
    `magnitude` standard deviations, up or down with equal probability.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        The targets, as floating numbers.
    fraction : float
        The fraction of outliers, between 0 and 1: exactly
        ``round(fraction * n_samples)`` targets.
    magnitude : float, default=10.0
        How far they move, in standard deviations of ``y``.
    random_state : int, RandomState instance or None, default=None
        Pass an int for reproducible outliers. With the same int, those at a smaller
        fraction are a subset of those at a larger one.

    Returns
    -------
    y_noisy : ndarray or Series of shape (n_samples,)
        A copy of ``y`` with outliers. A Series keeps its index, name and dtype, an
        array its dtype; a list becomes an array.
    outlying : ndarray of shape (n_samples,), dtype bool
        True for the outliers.

    Raises
    ------
    ValueError
        If ``fraction`` is not between 0 and 1, or ``magnitude`` not a finite number
        above 0; if ``y`` is not one-dimensional, holds no finite floating numbers, or
        only equal ones.

    References
    ----------
    .. [1] P. J. Huber, "Robust Estimation of a Location Parameter", Annals of
       Mathematical Statistics 35(1), 1964.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skinfluence.datasets import add_outliers
    >>> X, y = load_diabetes(return_X_y=True)
    >>> y_noisy, outlying = add_outliers(y, 0.05, random_state=0)
    >>> int(outlying.sum())
    22
    >>> bool(((y_noisy != y) == outlying).all())
    True
    """
    fraction = check_fraction("fraction", fraction)
    size = check_positive("magnitude", magnitude)
    column = _check_target(y)

    def change(
        values: NDArray[np.float64], rng: np.random.RandomState
    ) -> NDArray[np.float64]:
        return values + size * values.std() * rng.choice([-1.0, 1.0], len(values))

    rng = random_generator(random_state)
    table, outlying = corrupted(column.to_frame(), [0], fraction, change, rng)
    if isinstance(y, pd.Series):
        return table.iloc[:, 0].rename(y.name), outlying  # type: ignore[call-overload]
    return table.to_numpy()[:, 0], outlying


def _check_target(y: ArrayLike) -> pd.Series:
    target = y if isinstance(y, pd.Series) else np.asarray(y)
    if target.ndim != 1:
        raise ValueError(
            f"`y` must be one-dimensional, got shape {target.shape}. "
            "Change the columns of several outputs one at a time."
        )
    if not is_float_dtype(target.dtype):
        raise ValueError(
            f"`y` must hold floating numbers, got dtype {target.dtype}. Convert it "
            "first."
        )
    column = pd.Series(target, name="y")
    if not vary(numbers_of(column)):
        raise ValueError("`y` must hold numbers that differ, and no missing ones.")
    return column
