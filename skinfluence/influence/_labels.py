"""Steps whose retrace differentiates in labels or targets instead of weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ..training import (
    LeafLosses,
    LiveState,
    MicroBatch,
    Objective,
    SmoothedKinks,
    TrainingStep,
    batch_coefficients,
)


class LabelStep(TrainingStep):
    r"""A training step whose retrace gives the effect of other labels.

    Sample i counts with the weight :math:`1 - w_{ic}` under its own labels and with
    :math:`w_{ic}` under the labels c, so that the step's batch loss is

    .. math:: \frac{1}{|S_t|} \sum_{i \in S_t} c_i
       \Bigl(ℓ_i(y_i) + \sum_c w_{ic} (ℓ_i(c) - ℓ_i(y_i))\Bigr),

    at :math:`w = 0`. All labels share the batch's outputs, and the derivatives in all
    :math:`w_{ic}` come from the same differentiation as those in the samples' weights.
    The slopes are :math:`-∂Q/∂w_{ic}`, a row for each label, so that the retrace's
    scores are the change of Q if the sample had had these labels.

    Parameters
    ----------
    objective, live, kinks : object
        As in :class:`TrainingStep`. The targets are class indices, (batch,), or
        indicators of labels, (batch, n_labels).
    changed : callable
        ``changed(targets)``, the other labels c: a stack of targets of the batch.
    """

    def __init__(
        self,
        objective: Objective,
        live: LiveState,
        kinks: SmoothedKinks | None = None,
        *,
        changed: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__(objective, live, kinks)
        self.changed = changed

    def _leaf_losses(self, batch: MicroBatch) -> LeafLosses:
        inputs, targets, weights = self.objective.fetch(batch)
        others = self.changed(targets)
        # The batch once under its own labels, and once again under every other.
        rows = torch.cat([targets[None], others])
        losses = label_losses(self.objective, inputs, rows)
        coefficients = torch.zeros_like(losses)
        coefficients[0] = batch_coefficients(weights, losses[0], batch.share)
        leaf = coefficients.requires_grad_()
        other = (others != targets).reshape(*others.shape[:2], -1).any(2)
        return LeafLosses(losses, coefficients, leaf, other.to(losses.device))

    def _slopes(self, found: Tensor, of: LeafLosses) -> Tensor:
        assert of.other is not None
        return of.other * (found[0] - found[1:]) * of.coefficients[0].detach()


class TargetStep(TrainingStep):
    r"""A training step whose slopes are minus the derivatives in the targets.

    The retrace's scores are :math:`∂Q/∂y_i`, of shape (n_samples,), or
    (n_samples, n_outputs) where a sample has several targets.
    """

    def _leaf_losses(self, batch: MicroBatch) -> LeafLosses:
        inputs, targets, weights = self.objective.fetch(batch)
        leaf = targets.detach().clone().requires_grad_()
        losses = self.objective.criterion(self.objective.forward(inputs), leaf, inputs)
        coefficients = batch_coefficients(weights, losses, batch.share)
        return LeafLosses(losses, coefficients, leaf)

    def _slopes(self, found: Tensor, of: LeafLosses) -> Tensor:
        return -(found if found.dim() == 1 else found.flatten(1).T)


def as_labels(targets: Tensor, labels: Sequence[int]) -> Tensor:
    """Return the same label for all samples of a batch, (n_labels, batch)."""
    return targets.new_tensor(labels)[:, None].expand(-1, len(targets))


def toggled(targets: Tensor, labels: Sequence[int]) -> Tensor:
    """Return the indicators of a batch with each of some labels toggled.

    Parameters
    ----------
    targets : Tensor of shape (batch, n_labels)
        The indicators, 0 and 1.
    labels : sequence of int
        Columns of theirs.

    Returns
    -------
    Tensor of shape (len(labels), batch, n_labels)
        Each with one column exchanged, 0 for 1 and 1 for 0.
    """
    every = torch.eye(targets.shape[1], dtype=torch.bool, device=targets.device)
    return torch.where(every[list(labels), None], 1 - targets, targets)


def label_losses(objective: Objective, inputs: Any, labels: Tensor) -> Tensor:
    """Return the losses of a batch under several labels of each sample.

    Parameters
    ----------
    objective : Objective
        The per-sample losses.
    inputs : object
        The samples.
    labels : Tensor of shape (n_labels, batch) or (n_labels, batch, n_outputs)
        The labels.

    Returns
    -------
    Tensor of shape (n_labels, batch)
        From one forward pass.
    """
    outputs = objective.forward(inputs)
    every = None
    if objective.by_label is not None and labels.dim() == 2:
        every = objective.by_label(outputs)
    if every is not None:
        return every.gather(1, labels.T.to(every.device)).T
    outputs, again = _repeated((outputs, inputs), len(labels))
    losses = objective.criterion(outputs, labels.flatten(0, 1), again)
    return losses.unflatten(0, labels.shape[:2])


def _repeated(batch: Any, times: int) -> Any:
    """Repeat every tensor of a batch, one whole batch after the other."""

    def repeat(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf.repeat(times, *[1] * (leaf.dim() - 1))
        # torch takes mappings that it does not know for leaves.
        if isinstance(leaf, Mapping):
            return {name: _repeated(value, times) for name, value in leaf.items()}
        return leaf

    return tree_map(repeat, batch)
