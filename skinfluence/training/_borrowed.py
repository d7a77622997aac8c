"""Modules lent out, in double precision if need be, and given back to the bit."""

from collections.abc import Iterator, Sequence
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
        with AttributesKept(modules):
            yield in_precision(objective, torch.float64) if double else objective
    finally:
        for tensor, values, gradient, required in before:
            tensor.grad = None  # one of another dtype would not let the values in
            tensor.data = values
            tensor.requires_grad_(required).grad = gradient


class AttributesKept:
    """Binds the modules' attributes after a block to what they are bound to now.

    A forward pass may bind others: counters, buffers, weights that hooks compute. The
    same instance serves any number of blocks.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        parts = (part for module in modules for part in module.modules())
        spaces = [s for p in parts for s in (vars(p), p._parameters, p._buffers)]
        self._kept = [(s, dict(s), [*map(id, s.values())]) for s in spaces]

    def __enter__(self) -> None:
        pass

    def __exit__(self, *raised: object) -> None:
        for space, before, bound in self._kept:
            if [*map(id, space.values())] != bound:
                space.clear()
                space.update(before)
