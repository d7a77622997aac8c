"""What is observed of a net while it trains."""

from collections.abc import Sequence

import torch
from skorch.net import NeuralNet
from torch import Tensor

from ..._warnings import warn_caller
from ...exceptions import InfluenceReliabilityWarning
from ...training import Hyperparameters, LiveState, State, same_values
from ...trajectory import StepRecord, Trajectory
from .._net import net_buffers, norm_buffers


def continues(final: State, state: State) -> bool:
    """Whether a state is the last one unchanged; it may hold more parameters."""
    size, count = len(final.parameters), len(final.scalars)
    return (
        same_values(final.parameters, state.parameters[:size])
        and final.scalars == state.scalars[:count]
        and final.moments.keys() == state.moments.keys()
        and all(
            same_values(moment, state.moments[name][:size])
            for name, moment in final.moments.items()
        )
    )


def same(tensors: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return all(map(same_values, tensors, others))


def warn_of_buffers(
    net: NeuralNet, final: State | None, buffers: Sequence[Tensor]
) -> None:
    """Warn if buffers changed since the last step, but for norms' statistics."""
    if final is None or same(final.buffers, buffers):
        return
    norms = set(norm_buffers(net))
    pairs = zip(net_buffers(net), final.buffers, buffers, strict=True)
    changed = (own for own, a, b in pairs if not same_values(a, b))
    if any(own.is_floating_point() and own not in norms for own in changed):
        warn_caller(
            "Something other than a training step, such as a callback, changed the "
            "module's buffers. Influence takes their new values as given: it is wrong "
            "if they were computed from the parameters, such as an average of weights.",
            InfluenceReliabilityWarning,
        )


def add_trained(trajectory: Trajectory, optimizer: torch.optim.Optimizer) -> None:
    """Record parameters from the first step in which they are trained."""
    every = sum(len(options["params"]) for options in optimizer.param_groups)
    if every == len(trajectory.addresses):
        return
    recorded = set(trajectory.addresses)
    for group, options in enumerate(optimizer.param_groups):
        for index, parameter in enumerate(options["params"]):
            if parameter.requires_grad and (group, index) not in recorded:
                trajectory.addresses.append((group, index))
                trajectory.untrained.append(parameter.detach().clone())


# A record shares the objects of the last one that did not change.


def active(live: LiveState, last: StepRecord | None) -> tuple[int, ...]:
    """Return the positions of the parameters that have a gradient."""
    now = tuple(k for k, p in enumerate(live.parameters) if p.grad is not None)
    return last.active if last is not None and last.active == now else now


def hyperparameters(
    optimizer: torch.optim.Optimizer, last: StepRecord | None
) -> tuple[Hyperparameters, ...]:
    """Return the hyper-parameters of each parameter group."""
    now = tuple(
        {
            name: value.item() if isinstance(value, Tensor) else value
            for name, value in group.items()
            if name != "params"
        }
        for group in optimizer.param_groups
    )
    same = last is not None and last.hyperparameters == now
    return last.hyperparameters if last is not None and same else now
