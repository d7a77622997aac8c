"""Whether an estimator was fitted and recorded, and on which data."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted
from skorch.utils import is_dataset

from ..exceptions import (
    DivergedTrainingError,
    NotRecordedError,
    TrainingDataChangedError,
)
from ..trajectory import Trajectory
from ._net import InfluenceNet
from ._training_data import TrainingData, fingerprint
from ._validation import check_data, explained, n_rows


def check_estimator(estimator: object) -> None:
    """Refuse what is none of the library's estimators, or not fitted."""
    if not isinstance(estimator, InfluenceNet):
        raise TypeError(
            "`estimator` must be an SGDInfluenceClassifier or SGDInfluenceRegressor, "
            f"got {type(estimator).__name__}. For a pipeline, pass its last step, and "
            "as X the output of the earlier steps."
        )
    check_is_fitted(estimator, "training_data_")


def retraceable(net: InfluenceNet) -> Trajectory:
    """Return the trajectory of an estimator, or refuse if it has none to retrace."""
    check_estimator(net)
    trajectory: Trajectory | None = net.trajectory_
    if trajectory is None:
        raise NotRecordedError(
            f"`record` must be 'all' or a number of epochs in fit, got "
            f"{net.record!r}: nothing was recorded. Fit again with record='all'."
        )
    if not trajectory.records:
        raise NotRecordedError("The run must have at least one step, got 0.")
    if trajectory.diverged_at is not None:
        raise DivergedTrainingError(
            "The training run must stay finite, but the loss or a parameter was "
            f"NaN or infinite from step {trajectory.diverged_at} on. Lower `lr`, "
            "scale X and y, or clip the gradients."
        )
    return trajectory


def check_fitted_on(net: InfluenceNet, X: object, y: ArrayLike | None) -> None:
    """Refuse data that a fitted estimator was not fitted on.

    A Dataset's samples are not compared with arrays.

    Parameters
    ----------
    net : SGDInfluenceClassifier or SGDInfluenceRegressor
        The estimator.
    X : array-like of n_samples rows
        The data, of all calls of ``fit`` and ``partial_fit``.
    y : array-like of n_samples rows or None
        Its labels or targets; None where a Dataset holds them.

    Raises
    ------
    TrainingDataChangedError
        If the data is not that of the recorded run, in its order.
    ValueError
        If it is not as the estimator takes it.
    """
    check_estimator(net)
    parts = list({data.offset: data for data in net.training_data_}.values())
    if any(is_dataset(data.X) or not data.digest for data in parts):
        return
    fitted = parts[0].X
    if isinstance(X, list) and isinstance(fitted, np.ndarray):
        # Otherwise numbers in a list would be rounded to single precision.
        with explained("X must have rows of numbers, all of one length"):
            X = np.asarray(X, dtype=fitted.dtype)
    X, y = check_data(net, X, y, reset=False)
    targets = net._encode_targets(y, reset=False)
    n_samples = sum(map(len, parts))
    if n_rows(X) != n_samples:
        raise TrainingDataChangedError(
            f"X and y must be what the estimator was fitted on, {n_samples} rows, got "
            f"{n_rows(X)}. Pass the data of fit, in its order."
        )
    for data in parts:
        _check_part(data, X, targets, whole=len(parts) == 1)


def _check_part(data: TrainingData, X: Any, y: np.ndarray, *, whole: bool) -> None:
    if not whole:
        rows = np.arange(data.offset, data.offset + len(data))
        X, y = _safe_indexing(X, rows), y[rows]
    if fingerprint(_like(X, data.X), _like(y, data.y)) != data.digest:
        raise TrainingDataChangedError(
            "X and y must be what the estimator was fitted on, but their fingerprint "
            "is another one: other samples or labels, or in another order. Pass the "
            "data of fit, or fit the estimator on this data."
        )


def _like(values: Any, fitted: Any) -> Any:
    """Return values in the container and the dtype of those of fit."""
    if sparse.issparse(fitted) and not sparse.issparse(values):
        values = type(fitted)(values)
    elif sparse.issparse(values) and not sparse.issparse(fitted):
        values = values.toarray()
    same = getattr(values, "dtype", None) == getattr(fitted, "dtype", None)
    return values if same else values.astype(fitted.dtype)
