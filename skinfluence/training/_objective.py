"""The training objective: module, criterion and data as per-sample losses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Batch = tuple[Any, Any, Tensor | None]
"""Inputs, targets and the samples' weights c_i (None for 1)."""


@dataclass(frozen=True, slots=True)
class Objective:
    r"""Per-sample losses of a batch at the parameters that the modules hold.

    The batch loss of step t is linear in the samples' weights,

    .. math:: L_t(θ, w) = \frac{1}{|S_t|} \sum_{i \in S_t} w_i c_i ℓ_i(θ),

    so that a batch is its losses :math:`ℓ_i` and its coefficients
    :math:`c_i / |S_t|`.

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
        ``fetch(data, rows) -> (inputs, targets, weights)`` of rows of the data set
        with this number; the samples' c_i, or None for 1.
    """

    modules: Sequence[nn.Module]
    forward: Callable[[Any], Any]
    criterion: Callable[[Any, Any, Any], Tensor]
    fetch: Callable[[int, Tensor], Batch]

    def train(self, mode: bool) -> None:
        """Set training or evaluation mode."""
        for module in self.modules:
            # Going through all submodules costs as much as a small layer.
            if module.training is not mode:
                module.train(mode)

    def batch_losses(self, data: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses and the coefficients of a batch of rows of a data set."""
        inputs, targets, weights = self.fetch(data, rows)
        losses = self.criterion(self.forward(inputs), targets, inputs)
        return losses, batch_coefficients(weights, losses)

    @property
    def buffers(self) -> list[Tensor]:
        """The modules' buffers."""
        return [buffer for module in self.modules for buffer in module.buffers()]


def batch_coefficients(weights: Tensor | None, losses: Tensor) -> Tensor:
    """Return ``c_i / |S_t|``; the batch loss is ``losses @ coefficients``."""
    if weights is None:
        return losses.new_full((len(losses),), 1.0 / len(losses))
    return weights.to(losses) / len(losses)
