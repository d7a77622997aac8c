"""Steps whose retrace differentiates in the weights of single targets."""

from torch import Tensor

from ..exceptions import UnsupportedCriterionError
from ..training import (
    LeafLosses,
    LiveState,
    MicroBatch,
    Objective,
    SmoothedKinks,
    TrainingStep,
    batch_coefficients,
)


class TargetWeightStep(TrainingStep):
    r"""A training step whose slopes are those in the weights of a sample's targets.

    A sample's loss is the sum of parts, one for each of its targets, and target k of
    sample i counts with the weight :math:`w_{ik}`, at :math:`w = 1`. The slopes are
    :math:`∂Q/∂w_{ik}`, a row for each target, which sum to those in the samples'
    weights.

    Parameters
    ----------
    objective, live, kinks : object
        As in :class:`TrainingStep`. The objective has `by_target`.
    n_targets : int
        Number of targets of each sample.
    """

    def __init__(
        self,
        objective: Objective,
        live: LiveState,
        kinks: SmoothedKinks | None = None,
        *,
        n_targets: int,
    ) -> None:
        super().__init__(objective, live, kinks)
        self.n_targets = n_targets

    def _leaf_losses(self, batch: MicroBatch) -> LeafLosses:
        inputs, targets, weights = self.objective.fetch(batch)
        assert self.objective.by_target is not None
        outputs = self.objective.forward(inputs)
        parts = self.objective.by_target(outputs, targets, inputs)
        self._check_number(parts)
        leaf = parts.new_ones(parts.shape).requires_grad_()
        losses = (leaf * parts).sum(1)
        return LeafLosses(
            losses, batch_coefficients(weights, losses, batch.share), leaf
        )

    def _slopes(self, found: Tensor, of: LeafLosses) -> Tensor:
        return found.T

    def _check_number(self, parts: Tensor) -> None:
        if parts.shape[1] != self.n_targets:
            raise UnsupportedCriterionError(
                "`criterion` must give a loss for each target to tell them apart, the "
                f"same number ({self.n_targets}) for all samples, got "
                f"{parts.shape[1]}. Pad the targets in the data, or ask for "
                "`influence`, one number for each sample."
            )
