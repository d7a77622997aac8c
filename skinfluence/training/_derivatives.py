"""First derivatives of a batch loss, and derivatives of these."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import _engine_run_backward
from torch.optim import Optimizer

from ._clipping import Clipping

differentiating = torch.inference_mode(False)
"""Decorates what takes gradients: they are on, whatever the caller has turned off."""


def weighted_gradients(
    losses: Tensor,
    coefficients: Tensor,
    parameters: Sequence[Tensor],
    clipping: Clipping | None,
) -> Sequence[Tensor]:
    """Return the batch loss's gradients, differentiable in what they depend on."""
    gradients = every_slope([losses], parameters, [coefficients], create_graph=True)
    return gradients if clipping is None else clipping.clip(gradients)


def slopes(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    along: Sequence[Tensor],
    *,
    keep_graph: bool = False,
    create_graph: bool = False,
) -> Sequence[Tensor | None]:
    """Return what ``torch.autograd.grad`` does, None for what is not reached.

    Its checks of the arguments, in Python, take a tenth of a small network's step.
    """
    found: Sequence[Tensor | None] = _engine_run_backward(
        tuple(outputs),
        tuple(along),
        keep_graph,
        create_graph,
        tuple(inputs),
        True,  # inputs may be out of reach
        accumulate_grad=False,
    )
    return found


def every_slope(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    along: Sequence[Tensor],
    *,
    create_graph: bool = False,
) -> Sequence[Tensor]:
    """Return the slopes, zeros for what is not reached."""
    found = slopes(
        outputs, inputs, along, keep_graph=create_graph, create_graph=create_graph
    )
    return [
        torch.zeros_like(value, requires_grad=create_graph) if slope is None else slope
        for value, slope in zip(inputs, found, strict=True)
    ]


def descend(losses: Tensor, coefficients: Tensor) -> None:
    """Add the batch loss's gradients to those that the parameters have.

    As ``losses.backward(coefficients)`` does, without its checks in Python.
    """
    _engine_run_backward(
        (losses,), (coefficients,), False, False, (), True, accumulate_grad=True
    )


def clear_gradients(optimizer: Optimizer) -> None:
    """Leave an optimizer's parameters no gradients.

    As its own ``zero_grad()`` does, whose mark for a profiler takes a twentieth of a
    small network's step.
    """
    if _clears_otherwise(optimizer):
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def _clears_otherwise(optimizer: Optimizer) -> bool:
    own = type(optimizer).zero_grad is not Optimizer.zero_grad
    return own or "zero_grad" in vars(optimizer)


def derivatives_along(
    gradients: Sequence[Tensor], inputs: Sequence[Tensor], directions: Sequence[Tensor]
) -> Sequence[Tensor]:
    """Differentiate ⟨direction, gradient⟩ in the inputs."""
    moving = [k for k, gradient in enumerate(gradients) if gradient.requires_grad]
    return differentiate(
        [gradients[k] for k in moving], inputs, [directions[k] for k in moving]
    )


def differentiate(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], along: Sequence[Tensor]
) -> Sequence[Tensor]:
    """Differentiate outputs along one direction, or along a stack of them at once."""
    if along[0].dim() == outputs[0].dim():
        return every_slope(outputs, inputs, along)
    try:
        found: Sequence[Tensor | None] = torch.autograd.grad(
            outputs,
            inputs,
            along,
            allow_unused=True,
            retain_graph=True,
            is_grads_batched=True,
        )
    except RuntimeError:
        # An operation that cannot be batched: the directions take turns.
        rows = [
            torch.autograd.grad(
                outputs, inputs, each, retain_graph=True, materialize_grads=True
            )
            for each in zip(*along, strict=True)
        ]
        return [torch.stack(column) for column in zip(*rows, strict=True)]
    count = len(along[0])
    return [
        value.new_zeros(count, *value.shape) if gradient is None else gradient
        for value, gradient in zip(inputs, found, strict=True)
    ]
