"""A training by a loop of the user's own that goes on where it was stopped."""

from typing import Any

import torch
from skorch.net import NeuralNet
from torch import Tensor

from ...trajectory import Trajectory
from .._net import InfluenceNet
from .going_back import replay_of
from .loop_run import LoopRun
from .observations import hyperparameters
from .resume import begin_again, live_state, not_resumable


class ResumedLoop(LoopRun):
    """A loop that is run again from its start, and passes over the recorded steps.

    It is given their losses, without gradients: the optimizer's steps change nothing,
    and schedulers and all else that the loop counts are as they were. The module has
    the recorded states at the ends of epochs, where the loop may look at it, and the
    last one.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        assert self.trajectory is not None
        self.n_recorded = self.trajectory.n_steps
        self._passed = 0  # batches of the step in hand
        first = self.trajectory.records[0]
        self._first = first.micro_batches()[0].share, first.scale

    @property
    def _passing(self) -> Trajectory | None:
        """The trajectory, while its steps are passed over."""
        return self.trajectory if self.n_steps < self.n_recorded else None

    def begin(self, net: InfluenceNet) -> None:
        """Compare the model with the one that the record begins with."""
        assert self.trajectory is not None
        begin_again(net, self.trajectory)

    def begin_epoch(self) -> int:
        """Count a new epoch and return the seed of its batches."""
        seed = super().begin_epoch()
        if trajectory := self._passing:
            self.epoch = trajectory.records[self.n_steps].epoch
        return seed

    def repeated_loss(self, net: InfluenceNet, rows: Tensor) -> float | None:
        """Return the loss of a batch whose step is recorded."""
        if (trajectory := self._passing) is None:
            return None
        record, place = trajectory.records[self.n_steps], self._passed
        batches = record.micro_batches()
        if place >= len(batches) or not torch.equal(rows, batches[place].rows):
            raise not_resumable(trajectory, f"step {record.step} has another batch")
        if place == 0:
            next(self.seeds)
        self._passed += 1
        self.n_left -= 1
        assert record.loss is not None
        return (record.losses or (record.loss / record.scale,))[place]

    def begin_update(self, net: InfluenceNet) -> None:
        """Look at the gradients of a step, or at the settings of a recorded one."""
        if (trajectory := self._passing) is None:
            super().begin_update(net)
            return
        record = trajectory.records[self.n_steps]
        if self._passed != len(record.micro_batches()):
            raise not_resumable(trajectory, f"step {record.step} has fewer batches")
        if hyperparameters(net.optimizer_, record) != record.hyperparameters:
            what = f"step {record.step} has another learning rate or another setting"
            raise not_resumable(trajectory, what)

    def end_update(self, net: InfluenceNet) -> None:
        """Record a step, or pass over a recorded one."""
        if (trajectory := self._passing) is None:
            super().end_update(net)
            return
        self.n_steps, self._passed = self.n_steps + 1, 0
        if self.n_left == 0 or self.n_steps == self.n_recorded:
            state = replay_of(net, trajectory).state(self.n_steps)
            live_state(net, trajectory).write(state)

    def close(self, net: NeuralNet) -> None:
        """Complete the final state; refuse a loop that ends before the record does."""
        if trajectory := self._passing:
            what = f"the loop took {self.n_steps} of its {self.n_recorded} steps"
            raise not_resumable(trajectory, what)
        super().close(net)
