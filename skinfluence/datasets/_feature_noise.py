"""Noise in features with known ground truth."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._numbers import random_generator
from ._columns import as_frame, like, places_of
from ._corruption import Change, check_positive, corrupted, number_places
from ._labels import check_fraction


def add_feature_noise(
    X: Any,
    fraction: float,
    *,
    scale: float = 1.0,
    columns: Any = None,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Any, NDArray[np.bool_]]:
    """Add Gaussian noise to the features of a fraction of the rows; return which.

    Attribute noise [1]_, as of a bad instrument: in rows that are drawn uniformly
    without replacement, every value x of the columns becomes x + scale · s · z, with s
    the standard deviation of its column and z standard normal.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_samples, n_features)
        The features. The columns must hold floating numbers; missing values stay so.
    fraction : float
        The fraction of rows with noise, between 0 and 1: exactly
        ``round(fraction * n_samples)`` rows.
    scale : float, default=1.0
        The standard deviation of the noise in units of that of the column.
    columns : sequence of int or str, default=None
        The columns that get noise: names in a DataFrame, numbers in an array; by
        default all columns of numbers.
    random_state : int, RandomState instance or None, default=None
        Pass an int for reproducible noise. With the same int, the noise at a smaller
        fraction is a part of that at a larger one.

    Returns
    -------
    X_noisy : ndarray or DataFrame of shape (n_samples, n_features)
        A copy of ``X`` with noise. A DataFrame keeps its index, names and dtypes, an
        array its dtype; lists become an array.
    noisy : ndarray of shape (n_samples,), dtype bool
        True for the rows with noise.

    Raises
    ------
    ValueError
        If ``fraction`` is not between 0 and 1, or ``scale`` not a finite number above
        0; if ``X`` is not two-dimensional, or lacks the columns; if they hold no finite
        floating numbers; if too few rows can change.

    See Also
    --------
    add_unit_errors : Values in the wrong unit.

    References
    ----------
    .. [1] X. Zhu, X. Wu, "Class Noise vs. Attribute Noise: A Quantitative Study",
       Artificial Intelligence Review 22, 2004.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skinfluence.datasets import add_feature_noise
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X_noisy, noisy = add_feature_noise(X, 0.1, scale=3.0, random_state=0)
    >>> int(noisy.sum())
    44
    >>> bool(((X_noisy != X).any(axis=1) == noisy).all())
    True
    """
    size = check_positive("scale", scale)

    def change(
        values: NDArray[np.float64], rng: np.random.RandomState
    ) -> NDArray[np.float64]:
        spread = np.nanstd(values) if np.isfinite(values).any() else 0.0
        return values + size * spread * rng.standard_normal(len(values))

    return _with_noise(X, fraction, columns, change, random_state)


def add_unit_errors(
    X: Any,
    fraction: float,
    *,
    factor: float = 100.0,
    columns: Any = None,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Any, NDArray[np.bool_]]:
    """Multiply the features of a fraction of the rows by a factor; return which.

    As if they were entered in another unit, such as centimetres for metres. The rows
    are drawn uniformly without replacement among those that have a value other than 0
    in the columns.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_samples, n_features)
        The features. Missing values stay missing.
    fraction : float
        The fraction of rows with the error, between 0 and 1: exactly
        ``round(fraction * n_samples)`` rows.
    factor : float, default=100.0
        The ratio of the units; not 1.
    columns : sequence of int or str, default=None
        The columns in the wrong unit: names in a DataFrame, numbers in an array; by
        default all columns of numbers.
    random_state : int, RandomState instance or None, default=None
        Pass an int for reproducible errors. With the same int, those at a smaller
        fraction are a subset of those at a larger one.

    Returns
    -------
    X_noisy : ndarray or DataFrame of shape (n_samples, n_features)
        A copy of ``X`` with errors. A DataFrame keeps its index, names and dtypes, an
        array its dtype; lists become an array.
    noisy : ndarray of shape (n_samples,), dtype bool
        True for the rows with the error.

    Raises
    ------
    ValueError
        If ``fraction`` is not between 0 and 1, or ``factor`` not a finite number above
        0 other than 1; if ``X`` is not two-dimensional, or lacks the columns; if they
        hold no finite numbers, or cannot hold the product; if too few rows can change.

    See Also
    --------
    add_feature_noise : Gaussian noise.

    Examples
    --------
    >>> import pandas as pd
    >>> from skinfluence.datasets import add_unit_errors
    >>> X = pd.DataFrame({"height": [1.7, 1.8, 1.6, 1.9], "rooms": [2, 3, 1, 2]})
    >>> X_noisy, noisy = add_unit_errors(X, 0.25, columns=["height"], random_state=0)
    >>> X_noisy["height"].tolist()
    [1.7, 1.8, 160.0, 1.9]
    >>> noisy.tolist()
    [False, False, True, False]
    """
    ratio = check_positive("factor", factor)
    if ratio == 1:
        raise ValueError(
            f"`factor` must not be 1, which changes nothing, got {factor}."
        )
    return _with_noise(X, fraction, columns, lambda v, _: ratio * v, random_state)


def _with_noise(
    X: Any, fraction: float, columns: Any, change: Change, random_state: Any
) -> tuple[Any, NDArray[np.bool_]]:
    fraction = check_fraction("fraction", fraction)
    rng = random_generator(random_state)
    frame = as_frame(X)
    places = number_places(frame) if columns is None else places_of(columns, frame)
    table, noisy = corrupted(frame, places, fraction, change, rng)
    return like(X, table), noisy
