"""Modules lent out, in double precision if need be, and given back to the bit."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ._objective import Objective
from ._precision import in_precision, widen


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
        if double:
            widen(tensors, torch.float64)
        else:
            for tensor, values, *_ in before:
                tensor.grad, tensor.data = None, values.clone()
        with attributes_kept(modules):
            yield in_precision(objective, torch.float64) if double else objective
    finally:
        for tensor, values, gradient, required in before:
            tensor.grad = None  # one of another dtype would not let the values in
            tensor.data = values
            tensor.requires_grad_(required).grad = gradient


@contextmanager
def attributes_kept(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Bind the modules' attributes after the block to what they were bound to.

    A forward pass may bind others: counters, buffers, weights that hooks compute.
    """
    put_back = attributes_of(modules)
    try:
        yield
    finally:
        put_back()


def attributes_of(modules: Sequence[nn.Module]) -> Callable[[], None]:
    """Note what the modules' attributes are bound to; return what binds them again."""
    parts = (part for module in modules for part in module.modules())
    spaces = [s for p in parts for s in (vars(p), p._parameters, p._buffers)]
    kept = [(space, dict(space), [*map(id, space.values())]) for space in spaces]

    def put_back() -> None:
        for space, before, bound in kept:
            if [*map(id, space.values())] != bound:
                space.clear()
                space.update(before)

    return put_back
