"""Steps whose retrace differentiates in the criterion's label smoothing too."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..training import (
    LeafLosses,
    LiveState,
    MicroBatch,
    Objective,
    SmoothedKinks,
    TrainingStep,
    batch_coefficients,
)


class LabelSmoothingStep(TrainingStep):
    r"""A training step that is differentiated in the label smoothing as well.

    The loss is affine in the smoothing ε, so that with its value :math:`ℓ_i'` at
    another smoothing ε' the derivative is :math:`(ℓ_i' - ℓ_i) / (ε' - ε)`. The slopes
    are two rows: those in the samples' weights, and the sample's part of ∂Q/∂ε.

    Parameters
    ----------
    objective, live, kinks : object
        As in :class:`TrainingStep`.
    criterion : torch.nn.CrossEntropyLoss
        The one that the objective computes losses with.
    """

    def __init__(
        self,
        objective: Objective,
        live: LiveState,
        kinks: SmoothedKinks | None = None,
        *,
        criterion: Any,
    ) -> None:
        super().__init__(objective, live, kinks)
        self.criterion = criterion
        self._other = 0.0 if criterion.label_smoothing >= 0.5 else 1.0

    def _leaf_losses(self, batch: MicroBatch) -> LeafLosses:
        inputs, targets, weights = self.objective.fetch(batch)
        outputs = self.objective.forward(inputs)
        own = self.objective.criterion(outputs, targets, inputs)
        with self._smoothing(self._other):
            others = self.objective.criterion(outputs, targets, inputs)
        losses = torch.stack([own, others])
        coefficients = torch.zeros_like(losses)
        coefficients[0] = batch_coefficients(weights, own, batch.share)
        return LeafLosses(losses, coefficients, coefficients.requires_grad_())

    def _slopes(self, found: Tensor, of: LeafLosses) -> Tensor:
        apart = self._other - self.criterion.label_smoothing
        in_smoothing = (found[1] - found[0]) / apart
        return torch.stack([found[0], in_smoothing]) * of.coefficients[0].detach()

    @contextmanager
    def _smoothing(self, value: float) -> Iterator[None]:
        own = self.criterion.label_smoothing
        self.criterion.label_smoothing = value
        try:
            yield
        finally:
            self.criterion.label_smoothing = own
