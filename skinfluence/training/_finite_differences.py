"""Whether finite differences prove a derivative wrong."""

import math
from collections.abc import Callable, Sequence
from operator import itemgetter

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

    The first central difference that agrees with it acquits. If none does, two that
    agree with each other convict, unless one of a smaller step than theirs differs: far
    from where a function bends, it may be straight again.

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
    differences = []
    for step in steps:
        after, before = at(step), at(-step)
        found = (after - before) / (2 * step)
        scale = norm(after) / step
        if agrees(found, derivative, scale, tolerance, rounding):
            return 0.0
        differences.append((step, found, rounding * scale))
    differences.sort(key=itemgetter(0))
    for number, (_, found, _) in enumerate(differences):
        error, size = _compared(found, derivative)
        smaller = [
            (norm(found - other), _PROOF * error, noise)
            for _, other, noise in differences[:number]
        ]
        alike = any(distance <= near for distance, near, _ in smaller)
        if alike and all(distance <= near + noise for distance, near, noise in smaller):
            return error / size
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
