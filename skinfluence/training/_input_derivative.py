"""Whether a step's gradient has the derivative in the inputs that autograd gives it."""

import torch
from torch import Tensor

from ..exceptions import UnsupportedModuleError
from ._derivatives import differentiate, slopes, weighted_gradients
from ._finite_differences import proven_error
from ._flat import State
from ._objective import batch_coefficients
from ._randomness import seeded
from ._record import StepRecord
from ._second_derivative import _ROUNDING, _STEPS, _TOLERANCES, _eps, few
from ._step import TrainingStep

_REMEDY = "Ask for `influence`, which differentiates in no input."


def check_input_derivative(
    step: TrainingStep, state: State, record: StepRecord
) -> None:
    """Refuse modules whose gradient autograd does not differentiate rightly in inputs.

    The derivative of the gradient along itself, in a random direction of the inputs of
    some samples, is compared with finite differences.

    Parameters
    ----------
    step : TrainingStep
        The run's training step. The inputs that its objective fetches are pairs, of
        which the first is a floating-point tensor.
    state : State
        What the step began from.
    record : StepRecord
        The record of the step.

    Raises
    ------
    UnsupportedModuleError
        If the losses do not depend on the inputs, as far as autograd sees, or the
        derivative is not that of the losses.
    """
    batch = few(record.micro_batches()[0])
    (x, options), targets, weights = step.objective.fetch(batch)
    x = x.detach().to(step.device)
    draws = torch.Generator().manual_seed(0)
    along = torch.randn(x.shape, generator=draws).to(x) * x.std().nan_to_num(0.0)

    def losses(inputs: Tensor) -> tuple[Tensor, Tensor]:
        step.live.show(state)
        step.objective.train(True)
        with seeded(batch.seed, step.device):
            own = inputs.clone(), options
            found = step.objective.criterion(step.objective.forward(own), targets, own)
        return found, batch_coefficients(weights, found)

    leaf = x.clone().requires_grad_()
    values, coefficients = losses(leaf)
    (seen,) = slopes([values], [leaf], [coefficients.to(values)], keep_graph=True)
    if seen is None or not seen.any():
        raise UnsupportedModuleError(
            "The losses must depend on the samples' inputs in a way that autograd sees "
            "to be differentiated in them, but do not: the module detaches, rounds or "
            f"looks up its inputs. {_REMEDY}"
        )
    with step.kernels:
        gradients = weighted_gradients(values, coefficients, step.live.parameters, None)
        one = [gradient.detach() for gradient in gradients]
        (found,) = differentiate(gradients, [leaf], one)

    def shifted(length: float) -> Tensor:
        at = step.gradient(*losses(x + length * along))
        return step.live.layout.flatten(one) @ at

    # In half precision nothing is proven.
    narrow = min(x.dtype, values.dtype, step.live.dtype, key=lambda d: d.itemsize)
    steps, tolerance = _STEPS.get(narrow, ()), _TOLERANCES.get(narrow, 0.0)
    rounding = _ROUNDING * _eps(narrow)
    error = proven_error((found * along).sum(), shifted, steps, tolerance, rounding)
    if error:
        raise UnsupportedModuleError(
            "The gradient of the losses must be differentiable in the samples' inputs, "
            f"but autograd gets it wrong in them (relative error {error:.2g}): the "
            "module detaches its inputs on some way, or rounds them, or has an "
            f"autograd Function whose backward cannot be differentiated. {_REMEDY}"
        )
