"""What is known of torch's criteria, and one more criterion."""

import numpy as np
import torch
from torch import Tensor, nn

from .._numbers import is_real
from ..influence import Curvature

# Minus the logarithm of a class's probability. The outputs are these probabilities, or
# skorch's `predict_nonlinearity` turns them into such.
_LOG_LOSSES = (nn.BCELoss, nn.BCEWithLogitsLoss, nn.CrossEntropyLoss, nn.NLLLoss)

# One loss for each output and target: with other shapes torch repeats one of them.
ELEMENTWISE = (
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.HuberLoss,
    nn.L1Loss,
    nn.MSELoss,
    nn.SmoothL1Loss,
)

# Convex in one sample's outputs, with bounded derivatives. The softmax's covariance has
# norm 1/2 at most, a sigmoid's slope is at most 1/4 and that slope's slope 1/(6√3).
CURVATURES: dict[type[nn.Module], Curvature] = {
    nn.CrossEntropyLoss: Curvature(0.5, 0.5**0.5),
    nn.BCEWithLogitsLoss: Curvature(0.25, 1 / (6 * 3**0.5)),
    nn.MSELoss: Curvature(2.0, 0.0),
}


def losses_by_label(criterion: object, outputs: Tensor) -> Tensor | None:
    """Return the losses of each sample under every label, if torch has a formula.

    Parameters
    ----------
    criterion : object
        A criterion, with one loss for each sample.
    outputs : Tensor of shape (n, n_labels)
        What it takes; of NLLLoss, skorch takes the logarithm.

    Returns
    -------
    Tensor of shape (n, n_labels) or None
        From one softmax, where a criterion called for each label takes as many.
    """
    if outputs.dim() != 2:
        return None
    if type(criterion) is nn.CrossEntropyLoss:
        smoothing, logs = criterion.label_smoothing, outputs.log_softmax(1)
    elif type(criterion) is nn.NLLLoss:
        smoothing, logs = 0.0, torch.log(outputs + torch.finfo(outputs.dtype).eps)
    else:
        return None
    losses = -logs if criterion.weight is None else -logs * criterion.weight
    if smoothing:
        rest = losses.mean(1, keepdim=True)
        losses = (1 - smoothing) * losses + smoothing * rest
    labels = torch.arange(losses.shape[1], device=losses.device)
    return losses.masked_fill(labels == criterion.ignore_index, 0.0)


def takes_class_indices(criterion: object) -> bool:
    """Return whether a criterion is known to take class indices."""
    return all(issubclass(kind, BY_CLASS) for kind in kinds_of(criterion))


def kinds_of(criterion: object) -> tuple[type, ...]:
    """Return the class of a criterion; those that "auto" chooses from."""
    if isinstance(criterion, str):
        return nn.CrossEntropyLoss, nn.BCEWithLogitsLoss
    return (criterion if isinstance(criterion, type) else type(criterion),)


def is_log_loss(criterion: object) -> bool:
    """Return whether a criterion is the log loss of class probabilities.

    Parameters
    ----------
    criterion : class, instance or "auto"
        A criterion, or a classifier's choice by its labels.

    Returns
    -------
    bool
        Whether its unit is the nat.

    Examples
    --------
    >>> from torch import nn
    >>> from skinfluence.estimators import is_log_loss
    >>> is_log_loss(nn.CrossEntropyLoss), is_log_loss(nn.MSELoss())
    (True, False)
    """
    return all(issubclass(kind, _LOG_LOSSES) for kind in kinds_of(criterion))


class SmoothHinge(nn.Module):
    r"""The hinge loss of two classes, made smooth.

    .. math:: ℓ(s) = t \log(1 + \exp((1 - s)/t))

    of the margin s, the output of the true class minus that of the other (section 4.3
    of [1]_). For t → 0 it is the hinge loss max(0, 1 − s), whose second derivative is 0
    wherever there is one, so that influence functions are blind to it.

    Parameters
    ----------
    temperature : float, default=0.1
        The t.
    reduction : {"mean", "sum", "none"}, default="mean"
        As in torch's criteria.

    References
    ----------
    .. [1] P. W. Koh, P. Liang, "Understanding Black-box Predictions via Influence
       Functions", ICML 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.estimators import SmoothHinge
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> clf = SGDInfluenceClassifier("linear", criterion=SmoothHinge, random_state=0)
    >>> clf.fit(scale(X), y).score(scale(X), y) > 0.95
    True
    """

    temperature: float
    reduction: str

    def __init__(self, temperature: float = 0.1, reduction: str = "mean") -> None:
        super().__init__()
        if not (is_real(temperature) and 0 < temperature < np.inf):
            raise ValueError(
                f"`temperature` must be a finite number above 0, got {temperature!r}."
            )
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(
                f"`reduction` must be 'mean', 'sum' or 'none', got {reduction!r}."
            )
        self.temperature = temperature
        self.reduction = reduction

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the losses, or their mean or sum.

        Parameters
        ----------
        outputs : Tensor of shape (n, 2)
            The module's outputs for the two classes.
        targets : Tensor of shape (n,)
            The classes, 0 or 1.

        Returns
        -------
        Tensor of shape (n,) or ()
            In units of the margin.

        Raises
        ------
        ValueError
            If there are not two outputs.
        """
        if outputs.dim() != 2 or outputs.shape[1] != 2:
            raise ValueError(
                "SmoothHinge needs two outputs for two classes, of shape (n, 2), got "
                f"{tuple(outputs.shape)}."
            )
        signs = 2 * targets.to(outputs) - 1
        margins = signs * (outputs[:, 1] - outputs[:, 0])
        losses = nn.functional.softplus(1 - margins, beta=1 / self.temperature)
        if self.reduction == "none":
            return losses
        return losses.mean() if self.reduction == "mean" else torch.sum(losses)


# They take class indices, and an output for each class.
BY_CLASS = (nn.CrossEntropyLoss, nn.MultiMarginLoss, nn.NLLLoss, SmoothHinge)
