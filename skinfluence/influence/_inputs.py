"""Steps whose retrace differentiates in the samples' inputs instead of weights."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..exceptions import UnsupportedModuleError
from ..training import (
    Adjoint,
    LeafLosses,
    LiveState,
    MicroBatch,
    Objective,
    Retaken,
    SmoothedKinks,
    State,
    StepRecord,
    TrainingStep,
    batch_coefficients,
    check_input_derivative,
)


class InputStep(TrainingStep):
    r"""A training step whose slopes are minus the derivatives in the inputs.

    The retrace's scores are :math:`∂Q/∂x_i`, a row of cells for each sample.

    Parameters
    ----------
    objective, live, kinks : object
        As in :class:`TrainingStep`. The objective's inputs are pairs, of which the
        first is a floating-point tensor, (batch, ...).
    shape : sequence of int
        Shape of a sample.
    cells : Tensor of shape (n_samples, k) or None
        The cells of each sample to differentiate in, by number; None for all.
    """

    def __init__(
        self,
        objective: Objective,
        live: LiveState,
        kinks: SmoothedKinks | None = None,
        *,
        shape: Sequence[int],
        cells: Tensor | None = None,
    ) -> None:
        super().__init__(objective, live, kinks)
        self.shape = tuple(shape)
        self.cells = cells
        self._checked = False

    def backward(self, state: State, step: StepRecord, adjoint: Adjoint) -> Retaken:
        """Pull the adjoint back through the step, see :class:`TrainingStep`."""
        if not self._checked:
            check_input_derivative(self, state, step)
            self._checked = True
        return super().backward(state, step, adjoint)

    def _leaf_losses(self, batch: MicroBatch) -> LeafLosses:
        (x, options), targets, weights = self.objective.fetch(batch)
        self._check_shape(x)
        leaf = x.detach().to(self.device, copy=True).requires_grad_()
        # A forward pass may write to its inputs, which a leaf does not allow.
        inputs = leaf.view_as(leaf), options
        losses = self.objective.criterion(
            self.objective.forward(inputs), targets, inputs
        )
        coefficients = batch_coefficients(weights, losses, batch.share)
        own = None if self.cells is None else self.cells[batch.rows].to(self.device)
        return LeafLosses(losses, coefficients, leaf, own)

    def _slopes(self, found: Tensor, of: LeafLosses) -> Tensor:
        every = found.reshape(len(found), -1)
        return -(every if of.other is None else every.gather(1, of.other)).T

    def _check_shape(self, x: Any) -> None:
        if tuple(x.shape[1:]) != self.shape:
            raise UnsupportedModuleError(
                "All training samples must have one shape to differentiate in their "
                f"cells, got {self.shape} and {tuple(x.shape[1:])}. Pad them in the "
                "data, or ask for `influence`, one number for each sample."
            )
