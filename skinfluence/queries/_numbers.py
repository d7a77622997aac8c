"""Metrics of regressors."""

from functools import partial

from torch import Tensor

from .._numbers import is_real
from ._measures import Metric, SampleMeasure


def r2() -> Metric:
    r"""Measure 1 minus the coefficient of determination.

    .. math:: 1 - R^2 = \sum_i (y_i - \hat y_i)^2 / \sum_i (y_i - \bar y)^2,

    the mean over several outputs. It is smooth, and has no surrogate.

    Returns
    -------
    Metric
        For `query`; the same as the name ``"r2"``.

    Examples
    --------
    >>> from skinfluence import queries
    >>> queries.r2().name
    'r2'
    """
    return Metric("r2", "predictions", _unexplained, _unexplained, _check_varied)


def quantile_loss(quantile: float = 0.5) -> SampleMeasure:
    r"""Measure the quantile (pinball) loss.

    The mean of :math:`\max(q d, (q - 1) d)`, with :math:`d = y - \hat y`: of
    predictions of the q-quantile. At q = 1/2 it is half the mean absolute error.

    Parameters
    ----------
    quantile : float, default=0.5
        The q, between 0 and 1.

    Returns
    -------
    SampleMeasure
        For `query`; the name ``"quantile_loss"`` is that with the default.

    Examples
    --------
    >>> from skinfluence import queries
    >>> queries.quantile_loss(0.9).name
    'quantile_loss'
    """
    if not is_real(quantile) or not 0 < float(quantile) < 1:
        raise ValueError(f"`quantile` must be between 0 and 1, got {quantile!r}.")
    values = partial(_pinball, quantile=float(quantile))
    return SampleMeasure("quantile_loss", "predictions", values)


def _residuals(predictions: Tensor, targets: Tensor) -> Tensor:
    predictions = predictions.reshape(len(predictions), -1)
    return targets.to(predictions).reshape(predictions.shape) - predictions


def _unexplained(predictions: Tensor, targets: Tensor) -> Tensor:
    targets = targets.double().reshape(len(targets), -1)
    spread = (targets - targets.mean(0)).square().sum(0)
    errors = _residuals(predictions.double(), targets)
    return (errors.square().sum(0) / spread).mean()


def _pinball(predictions: Tensor, targets: Tensor, quantile: float) -> Tensor:
    errors = _residuals(predictions, targets)
    return (quantile * errors).maximum((quantile - 1) * errors).mean(1)


def _check_varied(targets: Tensor) -> None:
    outputs = targets.reshape(len(targets), -1)
    if (outputs == outputs[0]).all(0).any():
        raise ValueError(
            "`query` needs validation targets that are not all the same: the variance "
            f"that R² explains a part of is 0, got {len(targets)} of "
            f"{targets.flatten()[0].item():g}. Use 'loss'."
        )
