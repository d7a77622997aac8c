"""The estimator and the data that a report is about, checked."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import _num_samples

from ...estimators import check_estimator, check_fitted_on, has_columns
from .._style import check_row
from .._typing import Estimator

Judges: TypeAlias = Mapping[str, tuple[object, ArrayLike]]
"""The validation data and, where there is any, the test data, by name."""


class Audited(NamedTuple):
    """What is audited, and what judges it."""

    estimator: Estimator
    X: object
    y: np.ndarray
    judges: Judges


def checked_data(
    estimator: Estimator,
    X: object,
    y: ArrayLike,
    X_val: object,
    y_val: ArrayLike,
    X_test: object,
    y_test: ArrayLike | None,
) -> Audited:
    """Return what is audited, or raise an error."""
    check_estimator(estimator)
    if has_columns(y):
        raise ValueError(
            "`y` must hold one target for each sample, which the page's decisions "
            f"are about, got shape {np.shape(y)}. For several use "
            "InfluenceCleaner.to_frame, cleaning.suggest or a SampleGridDisplay."
        )
    y = check_row("y", y, _num_samples(X))
    check_fitted_on(estimator, X, y)
    judges = {"validation": (X_val, y_val), **_test_data(X_test, y_test)}
    return Audited(estimator, X, y, judges)


def _test_data(X_test: object, y_test: ArrayLike | None) -> Judges:
    if (X_test is None) != (y_test is None):
        raise ValueError("`X_test` and `y_test` must be given together, got only one.")
    return {} if y_test is None else {"test": (X_test, y_test)}
