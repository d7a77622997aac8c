"""Missing values with known ground truth."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from .._numbers import random_generator
from ._columns import (
    as_frame,
    is_number,
    like,
    numbers_of,
    place_of,
    places_of,
    put,
    vary,
)
from ._draws import drawn_by_odds
from ._labels import check_fraction


def ampute(
    X: Any,
    fraction: float,
    depends_on: Any,
    *,
    columns: Any = None,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Any, NDArray[np.bool_]]:
    """Delete a fraction of the values of columns at random, and return which.

    Values go missing at random (MAR) [1]_: how often depends on a column that is
    observed, and not on the deleted values themselves. In each column the values are
    drawn without replacement, one after the other, with odds that are the logistic
    function of the sample's standard score in the observed column [2]_: values are
    missing more often where that column is large.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_samples, n_features)
        The features. Their dtype must be able to hold missing values, as floating
        numbers, objects, categories and pandas' nullable integers do.
    fraction : float
        The fraction of the present values to delete from each column, between 0 and 1:
        exactly ``round(fraction * n_present)`` of them.
    depends_on : int or str
        The observed column: its name in a DataFrame, its number in an array. It must
        hold finite numbers, not all the same, and loses none.
    columns : sequence of int or str, default=None
        The columns that lose values; by default all others.
    random_state : int, RandomState instance or None, default=None
        Pass an int for reproducible deletions. With the same int, those at a smaller
        fraction are a subset of those at a larger one.

    Returns
    -------
    X_missing : ndarray or DataFrame of shape (n_samples, n_features)
        A copy of ``X`` with missing values. A DataFrame keeps its index, names and
        dtypes, an array its dtype; lists become an array.
    deleted : ndarray of shape (n_samples, n_features), dtype bool
        True where a value was deleted.

    Raises
    ------
    ValueError
        If ``fraction`` is not between 0 and 1; if ``X`` is not two-dimensional, or
        lacks the columns; if a column cannot hold missing values; if ``depends_on``
        holds no such numbers or is among ``columns``.

    References
    ----------
    .. [1] D. B. Rubin, "Inference and Missing Data", Biometrika 63(3), 1976.
    .. [2] R. M. Schouten, P. Lugtig, G. Vink, "Generating Missing Values for
       Simulation Purposes: A Multivariate Amputation Procedure", Journal of
       Statistical Computation and Simulation 88(15), 2018.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skinfluence.datasets import ampute
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(1000, 2)), columns=["age", "income"])
    >>> X_missing, deleted = ampute(X, 0.3, "age", random_state=0)
    >>> deleted.sum(axis=0).tolist()
    [0, 300]
    >>> old = X["age"] > 0
    >>> bool(deleted[old, 1].mean() > deleted[~old, 1].mean())
    True
    """
    fraction = check_fraction("fraction", fraction)
    frame = as_frame(X)
    observed = place_of("depends_on", depends_on, frame)
    odds = _odds(frame.iloc[:, observed])
    deleted = np.zeros(frame.shape, dtype=bool)
    rng = random_generator(random_state)
    for place in _losing(columns, observed, frame):
        present = np.flatnonzero(frame.iloc[:, place].notna())
        count = round(fraction * len(present))
        deleted[present[drawn_by_odds(odds[present], count, rng)], place] = True
        put(frame, place, _without(frame.iloc[:, place], deleted[:, place]))
    return like(X, frame), deleted


def _odds(column: pd.Series) -> NDArray[np.float64]:
    if not is_number(column):
        raise ValueError(
            f"`depends_on` must be a column of numbers, got {column.name!r} of dtype "
            f"{column.dtype}."
        )
    values = numbers_of(column)
    if not vary(values):
        raise ValueError(
            "`depends_on` must be a column without missing values whose numbers "
            f"differ, got {column.name!r}."
        )
    odds: NDArray[np.float64] = expit((values - values.mean()) / values.std())
    return odds


def _losing(columns: Any, observed: int, frame: pd.DataFrame) -> list[int]:
    """Return the places of the columns that lose values."""
    if columns is None:
        return [place for place in range(frame.shape[1]) if place != observed]
    places = places_of(columns, frame)
    if observed in places:
        raise ValueError(
            "`columns` must not hold the column of `depends_on`, which is observed, "
            f"got {columns!r}."
        )
    return places


def _without(column: pd.Series, deleted: NDArray[np.bool_]) -> pd.Series:
    """Return the column with missing values, of the same dtype."""
    # Tried on all values, so that a small fraction is refused as a large one is.
    if column.mask(np.ones(len(column), dtype=bool)).dtype != column.dtype:
        raise ValueError(
            f"The column {column.name!r} of `X` must be able to hold missing values, "
            f"got dtype {column.dtype}. Convert it to floating numbers first."
        )
    return column.mask(deleted)
