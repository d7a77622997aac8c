"""Other targets for some samples, in each of many runs."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..training import Batch, MicroBatch, Objective


@dataclass(frozen=True, slots=True)
class OtherTargets:
    """Which samples have another target than the recorded one, and which.

    Attributes
    ----------
    changed : Tensor of shape (runs, n_samples), bool
        Whether the sample does.
    values : Tensor of shape (runs, n_samples) or (runs, n_samples, n_outputs)
        The target it then has.
    """

    changed: Tensor
    values: Tensor

    def __getitem__(self, runs: Any) -> "OtherTargets":
        return OtherTargets(self.changed[runs], self.values[runs])

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the two as arrays, which hash alike in every process."""
        return self.changed.numpy(), self.values.numpy()

    def differing(self, rows: Tensor, targets: Tensor) -> Tensor:
        """Return which samples of a batch have another target, (runs, batch) bool."""
        other = self.values[:, rows].to(targets) != targets
        return self.changed[:, rows] & other.cpu().reshape(*other.shape[:2], -1).any(2)

    def with_recorded(self) -> "OtherTargets":
        """Return the runs, and the recorded one after them."""
        last = torch.zeros_like(self.changed[:1])
        return OtherTargets(
            torch.cat([self.changed, last]), torch.cat([self.values, self.values[:1]])
        )

    def of_batch(self, rows: Tensor, targets: Tensor) -> Tensor:
        """Return a batch's targets in each run, (runs, batch) or with outputs."""
        changed, values = self.changed[..., rows], self.values[:, rows].to(targets)
        changed = changed.reshape(*changed.shape, *[1] * (values.dim() - 2))
        return torch.where(changed.to(targets.device), values, targets)

    def in_run(self, objective: Objective, run: int) -> Objective:
        """Return the objective of one of the runs."""

        def fetch(batch: MicroBatch) -> Batch:
            inputs, targets, weights = objective.fetch(batch)
            own = self[run : run + 1].of_batch(batch.rows, targets)[0]
            return inputs, own, weights

        return replace(objective, fetch=fetch)
