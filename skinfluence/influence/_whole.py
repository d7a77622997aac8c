"""A query that is a function of all validation samples together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..training import State, TrainingStep
from ._queries import Query


@dataclass(frozen=True, slots=True)
class WholeQuery(Query):
    r"""A metric of what a measure gives for all validation samples.

    Its derivative is that of a smooth surrogate S of the metric, in two passes: the
    first, without a graph, gives the measures z of all samples and the slopes
    :math:`∂S/∂z_j`; in the second each batch's measures are differentiated along its
    slopes. So there is never the graph of more than one batch.

    Attributes
    ----------
    measure : callable
        ``measure(outputs, targets)``: what the metric takes of each sample, a tensor
        whose first axis is the batch. The weights of the batches play no part.
    targets : Tensor
        The targets of all batches.
    value : callable
        ``value(measures, targets) -> ()``: the metric.
    smooth : callable or None
        ``smooth(measures, targets) -> ()``: its surrogate, if it is differentiated.
    """

    targets: Tensor
    value: Callable[[Tensor, Tensor], Tensor]
    smooth: Callable[[Tensor, Tensor], Tensor] | None

    def here(self) -> Tensor:
        """Return the metric at the parameters that the modules hold, a scalar."""
        found: Tensor = _Plainly.apply(self._measures(), self._exactly)
        return found

    def gradient(self, step: TrainingStep, state: State) -> Tensor:
        """Return ∂S/∂θ at a state, of shape ``(p,)``."""
        step.live.show(state)
        self.objective.train(False)
        _, slopes = self._slopes()
        parts = slopes.split([len(weights) for _, _, weights in self.batches])
        total = state.parameters.new_zeros(step.live.layout.size)
        for (values, _), along in zip(self.values(), parts, strict=True):
            each = step.gradient(values.flatten(), along.to(values).flatten())
            total = each.add_(total)
        return total

    def by_batch(self) -> Sequence[Query]:
        """Return S as a function of each batch, the others as they are now.

        Of all but the first it is the linear part in z, which costs less.
        """
        measures, slopes = self._slopes()
        sizes = [len(weights) for _, _, weights in self.batches]
        others = measures[sizes[0] :]

        def first(values: Tensor) -> Tensor:
            return self._smoothly(torch.cat([values, others]))

        functions = [first, *(_along(each) for each in slopes.split(sizes)[1:])]
        return [
            self._of_batch(batch, function)
            for batch, function in zip(self.batches, functions, strict=True)
        ]

    def _of_batch(
        self, batch: tuple[Any, Any, Tensor], function: Callable[[Tensor], Tensor]
    ) -> Query:
        inputs, targets, weights = batch

        def measure(outputs: Any, targets: Any) -> Tensor:
            return function(self.measure(outputs, targets)).reshape(1)

        return Query(self.objective, measure, [(inputs, targets, weights.new_ones(1))])

    def _measures(self) -> Tensor:
        return torch.cat([values for values, _ in self.values()])

    def _slopes(self) -> tuple[Tensor, Tensor]:
        """Return z of all samples, and ∂S/∂z."""
        with torch.no_grad():
            measures = self._measures()
        leaf = measures.detach().requires_grad_()
        with torch.enable_grad():
            (slopes,) = torch.autograd.grad(self._smoothly(leaf), leaf)
        return measures, slopes

    def _smoothly(self, measures: Tensor) -> Tensor:
        assert self.smooth is not None  # others are refused before
        return self.smooth(measures, self.targets)

    def _exactly(self, measures: Tensor) -> Tensor:
        # Counts are told apart by less than single precision holds.
        return self.value(measures, self.targets).to(measures.device, torch.float64)


def _along(slopes: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the linear function with these slopes."""
    return lambda values: (values * slopes).sum()


class _Plainly(torch.autograd.Function):
    """Calls a function on plain tensors, also inside a vmap: one run after the other.

    A metric may sort, count, or leave torch.
    """

    @staticmethod
    def forward(values: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(values.detach())

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep nothing: it is not differentiated."""

    @staticmethod
    def vmap(
        info: Any, axes: Any, values: Tensor, function: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, int]:
        runs = values.movedim(axes[0], 0)
        return torch.stack([function(run) for run in runs]), 0
