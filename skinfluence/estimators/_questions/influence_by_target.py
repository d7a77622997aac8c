"""The influence of single targets: labels, outputs, tokens or pixels of a sample."""

from functools import partial
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from ...influence import TargetWeightStep
from ...training import differentiating
from .._net import InfluenceNet
from .._replica import fetcher_of, has_own_losses
from .._typing import At, QueryLike, Smoothing
from .estimate import check_smoothing, estimate, reliable, smoothed
from .question import ask


@differentiating
def influence_by_target(
    self: InfluenceNet,
    X_val: object,
    y_val: ArrayLike | None = None,
    *,
    sample_weight_val: ArrayLike | None = None,
    query: QueryLike = "loss",
    at: At = "final",
    last_epochs: int | None = None,
    stage: str | int | None = None,
    smoothing: Smoothing = None,
) -> np.ndarray:
    r"""Estimate how the validation loss would change without each target of a sample.

    Where a sample has several targets (the labels of an indicator matrix, the outputs
    of a regression, the tokens of a text, the pixels of an image), its loss is the sum
    of their parts, and

    .. math:: \text{influence}_{jk} = - ∂Q/∂w_{jk},

    where :math:`w_{jk}` is the weight of the part of target k in every batch that
    sample j was in. From one retrace, as :meth:`influence` [1]_.

    Parameters
    ----------
    X_val : array-like, CSR matrix, torch Dataset, or as in :meth:`fit`
        Validation samples.
    y_val : array-like of shape (n_val,) or (n_val, n_outputs)
        Their targets; None where a Dataset holds them.
    sample_weight_val : array-like of shape (n_val,), optional
        Non-negative weights of the validation samples in the mean.
    query : a named query or callable, default="loss"
        As in :meth:`influence`.
    at : "final", "epochs", "path", sequence or mapping, default="final"
        As in :meth:`influence`.
    last_epochs : int, optional
        Retrace only the last epochs and take the earlier ones as given.
    stage : None, "pretraining" or int, default=None
        The targets of which stage, as in :meth:`influence`.
    smoothing : None, float or "auto", default=None
        How wide kinks are smoothed on the way back, as in :meth:`influence`.

    Returns
    -------
    ndarray of the shape of the training targets, float64
        Estimated change of the query if the target had been left out, with the divisor
        of the sample's mean as it was, in the query's unit. **Negative: the target is
        harmful.** Its sums over the targets are what :meth:`influence` returns. Exactly
        0 for a target that a criterion's ``ignore_index`` leaves out, and for a sample
        that no retraced step used.

    Raises
    ------
    ValueError
        If the losses are those of a `get_losses` of your own, which does not tell the
        parts. The other errors are those of :meth:`influence`.
    UnsupportedCriterionError
        If the criterion does not give a loss for each target of a sample.

    Warns
    -----
    InfluenceReliabilityWarning
        As in :meth:`influence`.

    See Also
    --------
    skinfluence.SGDInfluenceClassifier.label_influence : The effect of other labels.

    References
    ----------
    .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained with
       SGD", NeurIPS 2019, Algorithm 2.

    Examples
    --------
    >>> from sklearn.datasets import load_linnerud
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceRegressor
    >>> X, y = load_linnerud(return_X_y=True)
    >>> X, y = scale(X), scale(y)
    >>> y[3, 1] += 10
    >>> reg = SGDInfluenceRegressor("linear", random_state=0).fit(X[:15], y[:15])
    >>> scores = reg.influence_by_target(X[15:], y[15:])
    >>> scores.shape
    (15, 3)
    >>> [int(k) for k in np.unravel_index(scores.argmin(), scores.shape)]
    [3, 1]
    """
    check_smoothing(smoothing)
    question = ask(self, X_val, y_val, sample_weight_val, query, at, last_epochs, stage)
    shape = _target_shape(question.owner(self))
    kind = partial(TargetWeightStep, n_targets=prod(shape))
    found = smoothed(smoothing, partial(estimate, self, question, step_kind=kind))
    return reliable(*found).reshape(-1, *shape)


def _target_shape(net: InfluenceNet) -> tuple[int, ...]:
    """Return the shape of a training sample's targets; refuse other losses."""
    if has_own_losses(net):
        raise ValueError(
            f"`get_losses` of {type(net).__name__} returns one loss for each sample, "
            "which does not tell the part of each target. Use a criterion that returns "
            "a loss for each, or ask for `influence`."
        )
    assert net.trajectory_ is not None
    batch = net.trajectory_.records[0].micro_batches()[0]
    _, targets, _ = fetcher_of(net)(batch)
    return tuple(np.shape(targets)[1:])
