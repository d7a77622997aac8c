"""Whether a query has the gradient that autograd gives it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..exceptions import UnsupportedModuleError
from ._borrowed import borrowed
from ._finite_differences import proven_error
from ._objective import Objective

_STEPS = (1e-6, 1e-5, 1e-7, 1e-4)
_TOLERANCE = 1e-4
_ROUNDING = 64 * torch.finfo(torch.float64).eps


def check_first_derivative(
    objective: Objective,
    parameters: Sequence[Tensor],
    value: Callable[[Objective], Tensor],
    seed: int,
    remedy: str,
) -> None:
    """Refuse a query whose gradient autograd gets wrong, such as by a `detach`.

    Its derivative along a random direction is compared with finite differences, in
    double precision. What cannot be computed so is let pass.

    Parameters
    ----------
    objective : Objective
        On the modules that the query runs.
    parameters : sequence of Tensor
        The parameters to differentiate in.
    value : callable
        ``value(objective) -> ()``, the query.
    seed : int
        Seed of the direction.
    remedy : str
        What to do instead: the last sentence of the error's message.

    Raises
    ------
    UnsupportedModuleError
        If autograd's gradient is wrong.
    """
    with borrowed(objective, parameters, double=True) as own:
        try:
            error = _error(parameters, lambda: value(own), seed)
        except (RuntimeError, TypeError, ValueError):  # code may know no doubles
            return
    if error:
        raise UnsupportedModuleError(
            "Influence needs the gradient of the query in evaluation mode: autograd "
            f"gets it wrong (relative error {error:.2g}), as it does with a `detach` "
            f"or parts computed without gradients. {remedy}"
        )


def _error(
    parameters: Sequence[Tensor], value: Callable[[], Tensor], seed: int
) -> float:
    """Return the proven relative error along a random direction, else 0."""
    draws = torch.Generator().manual_seed(seed)
    along = [
        torch.randn(p.shape, generator=draws, dtype=torch.float64).to(p)
        * p.detach().square().mean().sqrt()
        for p in parameters
    ]
    gradients = torch.autograd.grad(value(), parameters, materialize_grads=True)
    slopes = [(g * v).sum() for g, v in zip(gradients, along, strict=True)]
    start = [p.data.clone() for p in parameters]

    @torch.no_grad()
    def shifted(step: float) -> Tensor:
        for parameter, origin, direction in zip(parameters, start, along, strict=True):
            parameter.data = origin + step * direction
        return value().double()

    slope = torch.stack(slopes).sum()
    return proven_error(slope, shifted, _STEPS, _TOLERANCE, _ROUNDING)
