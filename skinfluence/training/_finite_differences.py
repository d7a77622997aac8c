"""Whether finite differences prove a derivative wrong."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Finite differences this close to each other, compared with their distance from the
# derivative, prove it wrong: those that cross kinks are as far from each other.
_PROOF = 1e-2


def proven_error(
    derivative: Tensor,
    at: Callable[[float], Tensor],
    steps: Sequence[float],
    tolerance: float,
    rounding: float,
) -> float:
    """Return the relative error of a derivative that is proven, else 0.

    The first central difference that agrees with it acquits; two that agree with each
    other, and not with it, convict.

    Parameters
    ----------
    derivative : Tensor
        Of a function at 0.
    at : callable
        ``at(step)``, the function's value near 0.
    steps : sequence of float
        Steps of the central differences, in the order in which they are tried.
    tolerance : float
        The relative error of a difference that acquits.
    rounding : float
        The relative error of the function's values.

    Returns
    -------
    float
        The error; infinite for a derivative that is not finite.
    """
    earlier: list[Tensor] = []
    for step in steps:
        after, before = at(step), at(-step)
        found = (after - before) / (2 * step)
        if agrees(found, derivative, norm(after) / step, tolerance, rounding):
            return 0.0
        error, size = _compared(found, derivative)
        if any(norm(found - other) <= _PROOF * error for other in earlier):
            return error / size
        earlier.append(found)
    return 0.0


def agrees(
    found: Tensor, derivative: Tensor, scale: float, tolerance: float, rounding: float
) -> bool:
    """Whether a difference acquits a derivative, see :func:`proven_error`.

    `scale` is that of its rounding: the norm of the values over the step.
    """
    error, size = _compared(found, derivative)
    return error <= tolerance * size + rounding * scale


def _compared(found: Tensor, derivative: Tensor) -> tuple[float, float]:
    """Return the distance, and the size that it is relative to."""
    if not derivative.isfinite().all():
        return math.inf, 1.0
    return norm(found - derivative), max(norm(found), norm(derivative))


def norm(vector: Tensor) -> float:
    """Return the Euclidean norm."""
    return float(torch.linalg.vector_norm(vector))
