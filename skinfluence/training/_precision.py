"""Computing in a wider floating-point dtype than the code asks for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ._flat import widest
from ._objective import Objective

# The complex dtypes of the same precision, for modules that use them inside.
_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}
_CASTS = {
    Tensor.half: torch.float16,
    Tensor.bfloat16: torch.bfloat16,
    Tensor.float: torch.float32,
}


def working_dtype(
    modules: Iterable[nn.Module], trained: Iterable[Tensor]
) -> torch.dtype | None:
    """Return the dtype to differentiate a run in, or None for the modules' own.

    It is the widest of the trained parameters, and at least single precision: half
    precision would round the adjoint off. Modules all in that dtype stay as they are.
    """
    dtype = widest(trained, least=torch.float32)
    parameters = (p for module in modules for p in module.parameters())
    narrow = any(widened(p.dtype, dtype) is not p.dtype for p in parameters)
    return dtype if narrow else None


@cache
def widened(dtype: torch.dtype, to: torch.dtype) -> torch.dtype:
    """Return a dtype, or the wider one of its kind."""
    if not (dtype.is_floating_point or dtype.is_complex):
        return dtype
    return torch.promote_types(dtype, _COMPLEX[to] if dtype.is_complex else to)


@torch.no_grad()
def widen(tensors: Iterable[Tensor], dtype: torch.dtype) -> None:
    """Give tensors memory of their own, of the wider dtype; they lose gradients."""
    for tensor in tensors:
        tensor.grad = None
        tensor.data = tensor.data.to(widened(tensor.dtype, dtype), copy=True)


class _WiderPrecision(TorchFunctionMode):
    """Computes in a dtype or wider, whatever dtype the code asks for.

    Code that casts its inputs, or makes tensors of the default dtype, then agrees with
    parameters that were widened.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        args = wide(tuple(args), self.dtype)
        kwargs = wide(dict(kwargs), self.dtype) if kwargs else {}
        if func in _CASTS:
            func, args = Tensor.to, (args[0], widened(_CASTS[func], self.dtype))
        return wide(func(*args, **kwargs), self.dtype)


def wide(value: Any, to: torch.dtype) -> Any:
    """Return tensors and dtypes widened, everything else as it is."""
    if isinstance(value, Tensor):
        dtype = widened(value.dtype, to)
        return value if dtype is value.dtype else value.to(dtype)
    if isinstance(value, torch.dtype):
        return widened(value, to)
    if type(value) in (tuple, list):
        return type(value)([wide(part, to) for part in value])
    if type(value) is dict:
        return {name: wide(part, to) for name, part in value.items()}
    return value


def in_precision(objective: Objective, dtype: torch.dtype) -> Objective:
    """Return an objective that computes in a dtype or wider."""

    def inside(function: Callable[..., Any]) -> Callable[..., Any]:
        def widened(*args: Any) -> Any:
            with _WiderPrecision(dtype):
                return function(*args)

        return widened

    return replace(
        objective,
        forward=inside(objective.forward),
        criterion=inside(objective.criterion),
        fetch=inside(objective.fetch),
        by_target=None if objective.by_target is None else inside(objective.by_target),
    )
