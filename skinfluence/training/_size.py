"""The size of a state of a run."""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from ._update import moment_names

_WAYS = ("foreach", "fused", "capturable", "differentiable", "maximize")


def state_nbytes(optimizer: torch.optim.Optimizer, buffers: Sequence[Tensor]) -> int:
    """Return the size of a state: parameters, optimizer state and buffers.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Holds the parameters; those that are trained count.
    buffers : sequence of Tensor
        The modules' buffers.

    Returns
    -------
    int
        In bytes.
    """
    size = sum(buffer.nbytes for buffer in buffers)
    groups = optimizer.param_groups
    trained = [[p for p in g["params"] if p.requires_grad] for g in groups]
    # All lie in vectors of the widest dtype.
    width = max((p.element_size() for p in chain.from_iterable(trained)), default=0)
    for group, own in zip(groups, trained, strict=True):
        count = sum(p.numel() for p in own)
        size += count * width * (1 + _count_moments(type(optimizer), group))
    return size


def _count_moments(cls: type[torch.optim.Optimizer], group: dict[str, object]) -> int:
    """Count the moments by a step of one number, as they depend on the options."""
    number = torch.zeros(1, requires_grad=True)
    number.grad = torch.ones(1)
    optimizer = cls([number], lr=0.1)  # type: ignore[call-arg]
    own = optimizer.param_groups[0]
    own.update({k: v for k, v in group.items() if k != "params"})
    own.update({"lr": 0.1, **{k: False for k in _WAYS if k in own}})
    optimizer.step()
    state = optimizer.state[number]
    return sum(state.get(name) is not None for name in moment_names(optimizer))
