"""Queries of a trained model: their value, and its derivative in the parameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..training import Objective, State, TrainingStep

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
    state's values, not differentiated.

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

    def _values(self, inputs: Any, targets: Any) -> Tensor:
        values = self.measure(self.objective.forward(inputs), targets)
        # The sums are taken in single precision at least.
        return values.to(torch.promote_types(values.dtype, torch.float32))

    def here(self) -> Tensor:
        """Return Q at the parameters that the modules hold, a scalar."""
        parts = ((self._values(x, y), v) for x, y, v in self.batches)
        return torch.stack([values @ v.to(values) for values, v in parts]).sum()

    def gradient(self, step: TrainingStep, state: State) -> Tensor:
        """Return ∂Q/∂θ at a state, of shape ``(p,)``."""
        step.live.show(state)
        self.objective.train(False)
        # A state older than some parameters' training is shorter.
        total = state.parameters.new_zeros(step.live.layout.size)
        for inputs, targets, weights in self.batches:
            values = self._values(inputs, targets)
            total = step.gradient(values, weights.to(values)).add_(total)
        return total


@dataclass(frozen=True, slots=True)
class SampleQueries(Query):
    """One query for each validation sample: its own measure, unweighted."""

    def gradient(self, step: TrainingStep, state: State) -> Tensor:
        """Return ∂q_j/∂θ at a state, of shape ``(n_val, p)``."""
        step.live.show(state)
        self.objective.train(False)
        rows = []
        for inputs, targets, _ in self.batches:
            values = self._values(inputs, targets)
            rows.append(step.gradient(values, torch.eye(len(values)).to(values)))
        return torch.cat(rows)

    def here(self) -> Tensor:
        """Return q_j at the parameters that the modules hold, of shape ``(n_val,)``."""
        return torch.cat([self._values(x, y) for x, y, _ in self.batches])
