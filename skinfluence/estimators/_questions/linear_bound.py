"""What of a linear estimator's run the bound of its influence's error rests on."""

from typing import Any

import torch
from torch import Tensor, nn

from ...exceptions import UnsupportedCriterionError, UnsupportedOptimizerError
from ...influence import Curvature
from ...training import TrainingStep, batch_coefficients
from ...trajectory import StepRecord
from .._criteria import CURVATURES
from .._modules import LinearModule
from .._recording.hooks import RecordingMixin


def curvature_of(net: Any) -> Curvature:
    """Return the bounds of a linear estimator's criterion, or say what it lacks."""
    net.check_is_fitted()
    if not isinstance(net.module_, LinearModule):
        raise ValueError(
            "`module` must be 'linear' for a bound of the error, got "
            f"{type(net.module_).__name__}. `check_influence` verifies some samples "
            "of any model."
        )
    criterion = net.criterion_
    known = CURVATURES.get(type(criterion))
    own = type(net).get_losses is RecordingMixin.get_losses
    if known is None or not own:
        got = type(criterion).__name__ if own else "a `get_losses` of your own"
        raise UnsupportedCriterionError(
            "`criterion` must be one of "
            f"{', '.join(kind.__name__ for kind in CURVATURES)} for a bound of the "
            f"error, got {got}."
        )
    factor = 1.0
    for name in ("weight", "pos_weight"):
        weights = getattr(criterion, name, None)
        # The weight of the classes, or of the outputs: the largest bounds all.
        factor *= 1.0 if weights is None else max(1.0, float(weights.max()))
    if not isinstance(criterion, nn.CrossEntropyLoss):
        # A sample's loss is the mean over its outputs.
        factor /= net.n_outputs_ or 1
    return Curvature(known.second * factor, known.third * factor)


def plain_sgd(net: Any, record: StepRecord) -> tuple[float, float]:
    """Return learning rate and weight decay of a plain SGD step."""
    options = [record.hyperparameters[group] for group, _ in net.trajectory_.addresses]
    rates = {(group["lr"], group.get("weight_decay", 0.0)) for group in options}
    plain = (
        type(net.optimizer_) is torch.optim.SGD
        and len(rates) == 1
        and record.clipping is None
        and not any(group["momentum"] or group["maximize"] for group in options)
    )
    if not plain:
        raise UnsupportedOptimizerError(
            "`optimizer` must be SGD without momentum and clipping, with one learning "
            "rate and weight decay for all parameters, for a bound of the error; step "
            f"{record.step} was not. `check_influence` verifies some samples."
        )
    return next(iter(rates))


def inputs_with_ones(inputs: Tensor) -> Tensor:
    """Return what a linear layer's weight and intercept multiply."""
    return torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)


def output_slopes(
    step: TrainingStep, record: StepRecord
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a batch's inputs, ∂ℓ_i/∂z_i at the present state, and coefficients."""
    inputs, targets, weights = step.objective.fetch(record.data, record.rows)
    step.objective.train(True)
    outputs = step.objective.forward(inputs)
    losses = step.objective.criterion(outputs, targets, inputs)
    (slopes,) = torch.autograd.grad(losses.sum(), outputs)
    found = (
        inputs_with_ones(torch.as_tensor(inputs[0])),
        slopes.reshape(len(slopes), -1),
        batch_coefficients(weights, losses),
    )
    rows, slopes, coefficients = (tensor.double().cpu() for tensor in found)
    return rows, slopes, coefficients
