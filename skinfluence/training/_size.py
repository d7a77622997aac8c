"""The size of a state of a run."""

from collections.abc import Sequence

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
    for group in optimizer.param_groups:
        trained = [p.nbytes for p in group["params"] if p.requires_grad]
        size += sum(trained) * (1 + _count_moments(type(optimizer), group))
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
