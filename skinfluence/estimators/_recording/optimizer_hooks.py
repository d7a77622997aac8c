"""Code that runs around an optimizer's step, which may look at it but not change it."""

import copy
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import (
    _global_optimizer_post_hooks,
    _global_optimizer_pre_hooks,
)

from ...training import LiveState
from .observations import continues, same


def step_hooks(optimizer: Optimizer) -> list[Callable[..., Any]]:
    """Return what runs around an optimizer's step: hooks, or a `step` of its own.

    But not what records it.
    """
    every = chain(
        _global_optimizer_pre_hooks.values(),
        optimizer._optimizer_step_pre_hooks.values(),
        optimizer._optimizer_step_post_hooks.values(),
        _global_optimizer_post_hooks.values(),
    )
    hooks = [each for each in every if _module_of(each) != "skinfluence"]
    own = vars(optimizer).get("step")
    if own is None or _counts_only(own, type(optimizer)):
        return hooks
    return [*hooks, own]


def _module_of(hook: Callable[..., Any]) -> str:
    return str(getattr(hook, "__module__", "")).partition(".")[0]


def _counts_only(step: Any, kind: type[Optimizer]) -> bool:
    """Whether it is what torch's schedulers put around a step, to count it."""
    wrapped = getattr(step, "__wrapped__", None)
    return hasattr(step, "_wrapped_by_lr_sched") and wrapped is kind.step


class StepTwice:
    """Takes a step once more, without hooks, to see whether they change it.

    Parameters
    ----------
    live : LiveState
        The net's state, before the step.
    """

    def __init__(self, live: LiveState) -> None:
        # Copies of an optimizer have none of its hooks.
        twin = copy.deepcopy(live.optimizer)
        self._twin = LiveState(twin, live.addresses, (), live.moments)
        self._buffers = [buffer.clone() for buffer in live.buffers]

    def see_gradients(self, live: LiveState) -> None:
        """Copy what the optimizer is given, and the buffers after the forward pass."""
        for own, parameter in zip(self._twin.parameters, live.parameters, strict=True):
            own.grad = None if parameter.grad is None else parameter.grad.clone()
        self._buffers = [buffer.clone() for buffer in live.buffers]

    @torch.no_grad()
    def leads_to(self, live: LiveState) -> bool:
        """Whether the optimizer alone leads to the net's state after the step."""
        twin = self._twin.optimizer
        groups = zip(twin.param_groups, live.optimizer.param_groups, strict=True)
        for group, given in groups:
            group.update({k: v for k, v in given.items() if k != "params"})
        plain = type(twin).step.__wrapped__  # type: ignore[attr-defined]
        plain(twin)
        # A hook may have cleared them, but the record tells which there were.
        for own, parameter in zip(self._twin.parameters, live.parameters, strict=True):
            parameter.grad = own.grad
        after = continues(self._twin.read(), live.read())
        return after and same(self._buffers, live.buffers)
