"""Modules lent out, in double precision if need be, and given back to the bit."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ._objective import Objective

_DOUBLE = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}
_CASTS = {Tensor.half, Tensor.bfloat16, Tensor.float}


def _doubled(value: Any) -> Any:
    """Return tensors and dtypes in double precision, everything else as it is."""
    if isinstance(value, Tensor):
        dtype = _DOUBLE.get(value.dtype)
        return value if dtype is None else value.to(dtype)
    if isinstance(value, torch.dtype):
        return _DOUBLE.get(value, value)
    if type(value) in (tuple, list):
        return type(value)(map(_doubled, value))
    if type(value) is dict:
        return {name: _doubled(part) for name, part in value.items()}
    return value


class _DoublePrecision(TorchFunctionMode):
    """Computes in double precision, whatever dtype the code asks for.

    Code that casts its inputs, or makes tensors of the default dtype, then agrees with
    parameters in double precision.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in _CASTS:
            func = Tensor.double
        return _doubled(func(*_doubled(args), **_doubled(kwargs or {})))


def _doubling(function: Callable[..., Any]) -> Callable[..., Any]:
    def doubled(*args: Any) -> Any:
        with _DoublePrecision():
            return function(*args)

    return doubled


@contextmanager
def borrowed(
    objective: Objective, parameters: Sequence[Tensor], double: bool
) -> Iterator[Objective]:
    """Let the block change what it likes of an objective's modules; put it back.

    The block works on copies of the tensors' values: the tensors are given their own
    memory again, so that nothing is rounded.

    Parameters
    ----------
    objective : Objective
        The per-sample losses.
    parameters : sequence of Tensor
        Leaf tensors that they depend on besides the modules'.
    double : bool
        Whether to compute in double precision.

    Yields
    ------
    Objective
        The one for the block to use.
    """
    modules = objective.modules
    own = (t for m in modules for t in (*m.parameters(), *m.buffers()))
    tensors = dict.fromkeys((*parameters, *own))
    before = [(t, t.data, t.grad, t.requires_grad) for t in tensors]
    try:
        for tensor, values, *_ in before:
            dtype = _DOUBLE.get(values.dtype, values.dtype) if double else values.dtype
            tensor.grad = None
            tensor.data = values.to(dtype, copy=True)
        with attributes_kept(modules):
            yield _in_double(objective) if double else objective
    finally:
        for tensor, values, gradient, required in before:
            tensor.grad = None  # one of another dtype would not let the values in
            tensor.data = values
            tensor.requires_grad_(required).grad = gradient


def _in_double(objective: Objective) -> Objective:
    return replace(
        objective,
        forward=_doubling(objective.forward),
        criterion=_doubling(objective.criterion),
        fetch=_doubling(objective.fetch),
    )


@contextmanager
def attributes_kept(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Bind the modules' attributes after the block to what they were bound to.

    A forward pass may bind others: counters, buffers, weights that hooks compute.
    """
    parts = (part for module in modules for part in module.modules())
    spaces = [s for p in parts for s in (vars(p), p._parameters, p._buffers)]
    kept = [(space, dict(space)) for space in spaces]
    try:
        yield
    finally:
        for space, before in kept:
            if [*map(id, space.values())] != [*map(id, before.values())]:
                space.clear()
                space.update(before)
