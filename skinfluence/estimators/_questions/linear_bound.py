"""The quantities of a linear model's run that bound the error of its influence."""

import torch
from torch import Tensor, nn

from ...exceptions import UnsupportedCriterionError, UnsupportedOptimizerError
from ...influence import Curvature
from ...training import MicroBatch, TrainingStep, batch_coefficients
from ...trajectory import StepRecord
from .._criteria import CURVATURES
from .._modules import LinearModule
from .._net import InfluenceNet
from .._recording.hooks import RecordingMixin


def curvature_of(net: InfluenceNet) -> Curvature:
    """Return the bounds of a linear model's criterion, or refuse the estimator."""
    net.check_is_fitted()
    if not isinstance(net.module_, LinearModule):
        raise ValueError(
            "`module` must be 'linear' for a bound of the error, got "
            f"{type(net.module_).__name__}. `check_influence` verifies some samples "
            "of any model."
        )
    criterion = net.criterion_
    bounds = CURVATURES.get(type(criterion))
    overridden = type(net).get_losses is not RecordingMixin.get_losses
    if bounds is None or overridden:
        got = "a `get_losses` of your own" if overridden else type(criterion).__name__
        raise UnsupportedCriterionError(
            "`criterion` must be one of "
            f"{', '.join(kind.__name__ for kind in CURVATURES)} for a bound of the "
            f"error, got {got}."
        )
    factor = 1.0
    for name in ("weight", "pos_weight"):
        weights = getattr(criterion, name, None)
        # Weights of the classes, or of the outputs.
        factor *= 1.0 if weights is None else max(1.0, float(weights.max()))
    if not isinstance(criterion, nn.CrossEntropyLoss):
        # A sample's loss is the mean over its outputs.
        factor /= net.n_outputs_ or 1
    return Curvature(bounds.second * factor, bounds.third * factor)


def plain_sgd(net: InfluenceNet, record: StepRecord) -> tuple[float, float]:
    """Return learning rate and weight decay of a plain SGD step."""
    assert net.trajectory_ is not None
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
    """Return the inputs with a column of ones for the intercept."""
    return torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)


def output_slopes(
    step: TrainingStep, record: StepRecord
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a batch's inputs, ∂ℓ_i/∂z_i at the current state, and coefficients."""
    parts = [_output_slopes(step, batch) for batch in record.micro_batches()]
    rows, slopes, coefficients = map(torch.cat, zip(*parts, strict=True))
    return rows, slopes, coefficients


def _output_slopes(step: TrainingStep, batch: MicroBatch) -> list[Tensor]:
    inputs, targets, weights = step.objective.fetch(batch)
    step.objective.train(True)
    outputs = step.objective.forward(inputs)
    losses = step.objective.criterion(outputs, targets, inputs)
    (slopes,) = torch.autograd.grad(losses.sum(), outputs)
    columns = (
        inputs_with_ones(torch.as_tensor(inputs[0])),
        slopes.reshape(len(slopes), -1),
        batch_coefficients(weights, losses, batch.share),
    )
    return [tensor.double().cpu() for tensor in columns]
