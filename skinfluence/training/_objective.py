"""The training objective: module, criterion and data as per-sample losses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ._record import MicroBatch

Batch = tuple[Any, Any, Tensor | None]
"""Inputs, targets and the samples' weights c_i (None for 1)."""


@dataclass(frozen=True, slots=True)
class Objective:
    r"""Per-sample losses of a batch at the parameters that the modules hold.

    The batch loss of step t is linear in the samples' weights,

    .. math:: L_t(θ, w) = \frac{1}{|S_t|} \sum_{i \in S_t} w_i c_i ℓ_i(θ),

    so that a batch is its losses :math:`ℓ_i` and its coefficients
    :math:`c_i / |S_t|`. Over several micro-batches it is the mean of theirs.

    Attributes
    ----------
    modules : sequence of torch.nn.Module
        Every module whose parameters or mode the losses depend on.
    forward : callable
        ``forward(inputs) -> outputs``.
    criterion : callable
        ``criterion(outputs, targets, inputs) -> (batch,)`` losses, one for each
        sample.
    fetch : callable
        ``fetch(micro_batch) -> (inputs, targets, weights)`` of its samples: the
        weights are their c_i, or None for 1.
    by_label : callable or None
        ``by_label(outputs) -> (batch, n_labels)``, the losses under every label, where
        they can be had at once; None under none or for outputs of another form.
    by_target : callable or None
        ``by_target(outputs, targets, inputs) -> (batch, n_targets)``, the part of each
        sample's loss that each of its targets has; None where that is not known.
    by_rows : bool
        Whether a sample is fetched as the same whatever batch it is in.
    """

    modules: Sequence[nn.Module]
    forward: Callable[[Any], Any]
    criterion: Callable[[Any, Any, Any], Tensor]
    fetch: Callable[[MicroBatch], Batch]
    by_label: Callable[[Any], Tensor | None] | None = None
    by_target: Callable[[Any, Any, Any], Tensor] | None = None
    by_rows: bool = False

    def train(self, mode: bool) -> None:
        """Set training or evaluation mode."""
        for module in self.modules:
            # Going through all submodules costs as much as a small layer.
            if module.training is not mode:
                module.train(mode)

    def batch_losses(self, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """Return the losses and the coefficients of a micro-batch."""
        inputs, targets, weights = self.fetch(batch)
        losses = self.criterion(self.forward(inputs), targets, inputs)
        return losses, batch_coefficients(weights, losses, batch.share)

    @property
    def buffers(self) -> list[Tensor]:
        """The modules' buffers."""
        return [buffer for module in self.modules for buffer in module.buffers()]


def batch_coefficients(
    weights: Tensor | None, losses: Tensor, share: float = 1.0
) -> Tensor:
    """Return ``c_i / |S_t|``; the batch loss is ``losses @ coefficients``.

    `share` is the factor of this loss in that of a step on several batches.
    """
    if weights is None:
        coefficients = losses.new_full((len(losses),), 1.0 / len(losses))
    else:
        coefficients = weights.to(losses) / len(losses)
    return coefficients if share == 1.0 else share * coefficients
