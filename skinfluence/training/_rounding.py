"""How far two computations of the same thing may lie apart."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

Tensors = Sequence[Tensor | None]


def rounding_tolerance(tensors: Iterable[Tensor]) -> float:
    """Return the relative difference that rounding may make, eps^(2/3).

    It lies between what the order of additions does to a sum (some eps) and what
    another loss or batch would do: 2e-5 in single and 4e-11 in double precision. The
    least precise dtype counts.
    """
    dtypes = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    return max(torch.finfo(dtype).eps for dtype in dtypes) ** (2 / 3)


def close(found: Tensors, expected: Tensors, power: float) -> bool:
    """Whether tensors agree to within a power of their precision.

    Each is compared relative to the largest of them: a gradient may be nothing but
    rounding, such as that of a bias before BatchNorm.
    """
    pairs = [*zip(found, expected, strict=True)]
    if any((mine is None) != (theirs is None) for mine, theirs in pairs):
        return False
    numbers = [(a, b) for a, b in pairs if a is not None and b is not None]
    largest = max((float(b.norm()) for _, b in numbers if _real(b)), default=0.0)
    return all(
        float((a - b).norm()) <= torch.finfo(b.dtype).eps ** power * largest
        if _real(b)
        else torch.equal(a, b)
        for a, b in numbers
    )


def _real(tensor: Tensor) -> bool:
    return tensor.is_floating_point()


def same_loss(loss: float, recorded: float, tolerance: float) -> bool:
    """Whether a loss is the recorded one but for rounding."""
    # A run that diverged has losses that are not finite, the same ones again.
    if not (math.isfinite(loss) and math.isfinite(recorded)):
        return math.isfinite(loss) == math.isfinite(recorded)
    return abs(loss - recorded) <= tolerance * max(abs(loss), abs(recorded))
