"""How far two computations of the same thing may lie apart."""

from collections.abc import Iterable

import torch
from torch import Tensor


def rounding_tolerance(tensors: Iterable[Tensor]) -> float:
    """Return the relative difference that rounding may make, eps^(2/3).

    It lies between what the order of additions does to a sum (some eps) and what
    another loss or batch would do: 2e-5 in single and 4e-11 in double precision. The
    least precise dtype counts.
    """
    dtypes = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    return max(torch.finfo(dtype).eps for dtype in dtypes) ** (2 / 3)
