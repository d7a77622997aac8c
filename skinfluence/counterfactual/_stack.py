"""A stack of runs: one training step whose every tensor has a leading axis of runs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

from ..training import (
    Clipping,
    Functional,
    LiveState,
    MicroBatch,
    State,
    TrainingStep,
    batch_coefficients,
)
from ._targets import OtherTargets


class StackedStep(TrainingStep):
    """The training step of several runs that draw the same batches, at once.

    Parameters and optimizer state are stacked along a leading axis, the losses are
    computed by one :func:`torch.func.vmap`, and the optimizer's own step, which is
    elementwise, takes the stack for one large parameter.

    Parameters
    ----------
    step : TrainingStep
        The step of one run.
    runs : int
        How many runs.
    others : OtherTargets or None
        Targets that differ from run to run.
    """

    def __init__(
        self, step: TrainingStep, runs: int, others: OtherTargets | None = None
    ) -> None:
        self.runs = runs
        self.others = others
        super().__init__(step.objective, _stacked_live(step.live, runs))
        self._functional = Functional(step.objective.modules, step.live.parameters)

    def start(self, state: State) -> None:
        """Let every run begin from a state of the recorded run."""
        runs = self.runs
        self.live.write(
            replace(
                state,
                parameters=state.parameters.expand(runs, -1),
                moments={k: v.expand(runs, -1) for k, v in state.moments.items()},
                buffers=tuple(b.expand(runs, *b.shape) for b in state.buffers),
            )
        )

    def each(self, function: Callable[..., Tensor], *stacks: Tensor) -> Tensor:
        """Return a function of the modules for every run, stacked.

        Beside the modules it takes what is stacked itself, a part for each run.
        """

        def one(
            parameters: Sequence[Tensor], buffers: Sequence[Tensor], *own: Tensor
        ) -> Tensor:
            call: Tensor = self._functional(parameters, buffers, lambda: function(*own))
            return call

        stacked = vmap(one, randomness="same")
        live = self.live
        with _WeightsFirst():
            return stacked(tuple(live.parameters), tuple(live.buffers), *stacks)

    def _batch_losses(self, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        inputs, targets, weights = self.objective.fetch(batch)
        forward, criterion = self.objective.forward, self.objective.criterion
        if self.others is None:
            losses = self.each(lambda: criterion(forward(inputs), targets, inputs))
        else:
            losses = self.each(
                lambda own: criterion(forward(inputs), own, inputs),
                self.others.of_batch(batch.rows, targets),
            )
        coefficients = batch_coefficients(weights, losses[0], batch.share)
        return losses, coefficients.expand_as(losses)

    def _clip(self, clipping: Clipping, parameters: Sequence[Tensor]) -> None:
        # Every run has a norm of its own.
        gradients = tuple(_gradient(parameter) for parameter in parameters)
        clipped = vmap(lambda *each: tuple(clipping.clip(each)))(*gradients)
        for parameter, gradient in zip(parameters, clipped, strict=True):
            parameter.grad = gradient


class _WeightsFirst(TorchFunctionMode):
    """Has linear layers computed as (W xᵀ)ᵀ, where vmap sees the stack of W first.

    For inputs that all runs share that is one product of matrices, and so are its
    gradients: three times as fast for a layer on a few hundred features.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is linear and not kwargs and args[0].dim() == 2:
            inputs, weight, *bias = args
            outputs = (weight @ inputs.T).T
            return outputs if not bias or bias[0] is None else outputs + bias[0]
        return func(*args, **(kwargs or {}))


def _gradient(parameter: Tensor) -> Tensor:
    gradient = parameter.grad
    return torch.zeros_like(parameter) if gradient is None else gradient


def _stacked_live(live: LiveState, runs: int) -> LiveState:
    """Return a live state of stacked parameters, under an optimizer of its own."""
    groups: list[dict[str, Any]] = [
        {**{k: v for k, v in group.items() if k != "params"}, "params": []}
        for group in live.optimizer.param_groups
    ]
    addresses = []
    for (group, _), parameter in zip(live.addresses, live.parameters, strict=True):
        addresses.append((group, len(groups[group]["params"])))
        stack = parameter.detach().expand(runs, *parameter.shape).clone()
        groups[group]["params"].append(stack.requires_grad_())
    cls: Any = type(live.optimizer)
    # Groups of frozen parameters stay, so that the groups keep their numbers; an
    # optimizer takes no empty first list otherwise.
    optimizer = cls([{**group} for group in groups], lr=0.1)
    stacked = LiveState(
        optimizer,
        addresses,
        [b.expand(runs, *b.shape).clone() for b in live.buffers],
        live.moments,
        [value.expand(runs, *value.shape) for value in live.untrained],
    )
    stacked.layout = live.layout
    stacked.prototypes = live.prototypes
    return stacked
