"""Queries of a trained model: their value, and its derivative in the parameters."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ..training import Objective, State, TrainingStep, seeded

Measure = Callable[[Any, Any], Tensor]
"""``measure(outputs, targets) -> (batch,)``, one number for each sample."""


class Differentiable(Protocol):
    """What a retrace needs of a query: its gradient at a state."""

    def gradient(self, step: TrainingStep, state: State) -> Tensor:
        """Return ∂Q/∂θ at a state, of shape ``(p,)`` or ``(q, p)``."""
        ...


@dataclass(frozen=True, slots=True)
class Query:
    r"""The weighted mean of a per-sample measure over validation data.

    .. math:: Q(θ) = \sum_j v_j q_j(θ) / \sum_j v_j

    in evaluation mode: no dropout, and BatchNorm's running statistics held at the
    state's values, not differentiated. What a module draws in that mode is drawn from
    the same seed at every state, in every run.

    Attributes
    ----------
    objective : Objective
        Gives the forward pass.
    measure : callable
        ``measure(outputs, targets) -> (batch,)``.
    batches : sequence of (inputs, targets, weights)
        The validation data; weights of shape ``(batch,)`` that sum to 1 over all.
    """

    objective: Objective
    measure: Measure
    batches: Sequence[tuple[Any, Any, Tensor]]

    def values(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each batch's measures at the parameters that the modules hold.

        Yields
        ------
        values, weights : Tensor of shape (batch,)
            The measure of each sample, and its weight.
        """
        for number, (inputs, targets, weights) in enumerate(self.batches):
            # A forward pass may write to its inputs, which are asked about again.
            inputs = tree_map_only(Tensor, torch.clone, inputs)
            with seeded(number, weights.device):
                values = self.measure(self.objective.forward(inputs), targets)
            if torch.is_grad_enabled() and not values.requires_grad:
                raise ValueError(
                    "The query must be differentiable in the parameters, but in "
                    "evaluation mode the module computes without gradients (such as "
                    "by torch.set_grad_enabled(self.training)). Compute with "
                    "gradients, or use counterfactual_influence."
                )
            # The sums are taken in single precision at least.
            values = values.to(torch.promote_types(values.dtype, torch.float32))
            yield values, weights.to(values)

    def here(self) -> Tensor:
        """Return Q at the parameters that the modules hold, a scalar."""
        return torch.stack([q @ v for q, v in self.values()]).sum()

    def by_batch(self) -> Sequence["Query"]:
        """Return the part of each batch in Q."""
        return [replace(self, batches=[batch]) for batch in self.batches]

    def gradient(self, step: TrainingStep, state: State) -> Tensor:
        """Return ∂Q/∂θ at a state, of shape ``(p,)``."""
        step.live.show(state)
        self.objective.train(False)
        # A state older than some parameters' training is shorter.
        total = state.parameters.new_zeros(step.live.layout.size)
        for values, weights in self.values():
            total = step.gradient(values, weights).add_(total)
        return total


@dataclass(frozen=True, slots=True)
class SampleQueries(Query):
    """One query for each validation sample: its own measure, unweighted.

    Attributes
    ----------
    rows : range or None
        The samples; None for all. The others of their batches are evaluated with them,
        since draws and rounding depend on the batch.
    """

    rows: range | None = None

    def gradient(self, step: TrainingStep, state: State) -> Tensor:
        """Return ∂q_j/∂θ at a state, of shape ``(n_rows, p)``."""
        step.live.show(state)
        self.objective.train(False)
        gradients, start = [], 0
        for values, weights in self.values():
            own = range(start, start + len(weights))
            rows = [
                k for k, row in enumerate(own) if self.rows is None or row in self.rows
            ]
            each = torch.eye(len(own), dtype=weights.dtype, device=weights.device)
            if rows:
                gradients.append(step.gradient(values, each[rows]))
            start = own.stop
        return torch.cat(gradients)

    def along(self, step: TrainingStep, state: State, directions: Tensor) -> Tensor:
        """Return the slopes of all q_j along directions (q, p), of shape (q, n_val)."""
        step.live.show(state)
        self.objective.train(False)
        parts = [step.derivative(values, directions) for values, _ in self.values()]
        return torch.cat(parts, dim=-1)

    def here(self) -> Tensor:
        """Return q_j at the parameters that the modules hold, of shape ``(n_val,)``."""
        return torch.cat([values for values, _ in self.values()])
