"""The influence of samples that were not trained on, summed on the way back."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..training import MicroBatch, Retaken, State, StepRecord, TrainingStep, seeded
from ..trajectory import Trajectory


class Additions:
    r"""Watches a retrace, and sums up what added samples would do to the query.

    A candidate z is in one batch of each epoch, as a training sample is: in each with
    the probability :math:`|S_t| / N_e`, where :math:`N_e` is the number of samples in
    the epoch's batches. In that batch its loss has the weight ε and the divisor
    :math:`|S_t|`, so that on average it adds :math:`ε c_z ℓ_z / N_e` to the loss of
    each step, and

    .. math:: \frac{∂Q}{∂ε} = \sum_t \frac{c_z}{N_{e(t)}} \langle d_t, ∇ℓ_z(θ_t) \rangle

    with the slope :math:`d_t` of Q in the gradient of step t's batch loss. The retrace
    gives all :math:`d_t`; those of a `span` of steps are summed, and the candidates are
    differentiated once along the sum, where the middle one of these steps began.

    Parameters
    ----------
    trajectory : Trajectory
        The run.
    step : TrainingStep
        The step for the way back.
    losses : callable
        ``losses(batch) -> (batch,)``, the :math:`c_z ℓ_z` of candidates at the
        parameters that the modules hold; the batch's rows are the candidates'.
    spans : sequence of range
        Steps that share a middle, in any order.
    parts : sequence of Tensor
        The candidates that go through the modules together.

    Attributes
    ----------
    scores : Tensor of shape (n_candidates,), float64
        ∂Q/∂ε, once the retrace has come to its end.
    """

    def __init__(
        self,
        trajectory: Trajectory,
        step: TrainingStep,
        losses: Callable[[MicroBatch], Tensor],
        spans: Sequence[range],
        parts: Sequence[Tensor],
    ) -> None:
        self.step = step
        self.losses = losses
        self.parts = parts
        self.scores = torch.zeros(sum(map(len, parts)), dtype=torch.float64)
        self._first = {span[0] for span in spans}
        self._middle = {span[len(span) // 2] for span in spans}
        self._sizes = [0] * (trajectory.n_epochs + 1)
        for record in trajectory.records:
            self._sizes[record.epoch] += len(record.rows)
        self._direction: Tensor | float = 0.0
        self._held: tuple[StepRecord, State]

    def watch(self, record: StepRecord, before: State, retaken: Retaken) -> None:
        """Take a step of the retrace into account."""
        direction = self.step.before_clipping(before, record, retaken.direction)
        self._direction = self._direction + direction / self._sizes[record.epoch]
        if record.step in self._middle:
            self._held = record, before
        if record.step in self._first:
            self.scores += self._along(*self._held, self._direction).double().cpu()
            self._direction = 0.0
            del self._held

    def _along(self, record: StepRecord, state: State, direction: Tensor) -> Tensor:
        """Differentiate the candidates' losses at a state along a direction."""
        self.step.objective.train(True)
        found = []
        # After the seeds of the step's own batches: other draws than theirs.
        for number, part in enumerate(self.parts, len(record.sizes or [0])):
            # A forward pass may write to the buffers.
            self.step.live.show(state)
            seed = None if record.seed is None else record.seed + number
            batch = MicroBatch(record.data, part, seed, item_seed=record.item_seed)
            with seeded(seed, self.step.device):
                losses = self.losses(batch)
            found.append(self.step.derivative(losses, direction))
        return torch.cat(found)


def spans(
    trajectory: Trajectory, first: int, stop: int, per_epoch: int
) -> Iterator[range]:
    """Divide the steps of each epoch into spans of about the same length.

    Parameters
    ----------
    trajectory : Trajectory
        The run.
    first, stop : int
        The first step, and the one after the last.
    per_epoch : int
        How many spans an epoch has, at most.

    Yields
    ------
    range
        Numbers of steps that follow one another.
    """
    begin = 0
    for end in trajectory.epoch_ends().values():
        steps = range(max(begin, first), min(end, stop))
        number = min(per_epoch, len(steps))
        for k in range(number):
            yield steps[k * len(steps) // number : (k + 1) * len(steps) // number]
        begin = end
