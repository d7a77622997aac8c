"""Counterfactual runs from whose end later recorded runs start."""

from torch import Tensor

from ..training import Handover, TrainingStep
from ..trajectory import Trajectory
from ._ensemble import Ensemble
from ._stack import StackedStep


class StagedEnsemble(Ensemble):
    """A recorded run under other weights, and the run that then began from its end.

    The value of such a run is the query of the later run that starts from its final
    parameters, with its own batches, random numbers and learning rates.

    Parameters
    ----------
    trajectory : Trajectory
        The earlier run.
    step : TrainingStep
        Its training step.
    later : Ensemble
        The later run, from its first step on, and its query; it may have a later run
        itself.
    handover : Handover
        What the later run takes over from the earlier one's end.
    first : int
        The step of the earlier run before which everything is as recorded.
    """

    def __init__(
        self,
        trajectory: Trajectory,
        step: TrainingStep,
        later: Ensemble,
        handover: Handover,
        *,
        first: int = 0,
    ) -> None:
        super().__init__(
            trajectory,
            step,
            later.query,
            {trajectory.n_steps: 1.0},
            first=first,
            way=later.way,
            max_bytes=later.max_bytes,
        )
        self.later = later
        self.handover = handover

    def _value(self, step: TrainingStep) -> Tensor:
        """Return the later runs' query if they begin where the runs stand."""
        begun = self.later.step
        if isinstance(step, StackedStep):
            begun = StackedStep(begun, step.runs)
        begun.start(self.later.replay.state(self.later.first))
        self.handover.forward(step.live, begun.live)
        return self.later._follow(begun, self.later.first)

    def _check_repeats(self, start: int) -> None:
        super()._check_repeats(start)
        if start < self.stop:
            self.later._check_repeats(self.later.first)

    def _stack_size(self, runs: int) -> int:
        return min(super()._stack_size(runs), self.later._stack_size(runs))

    @property
    def n_steps(self) -> int:
        """Number of steps of a run, the later ones included."""
        return super().n_steps + self.later.n_steps

    def _seconds(self, start: int, largest: int, steps: int) -> dict[int, float]:
        own = super()._seconds(start, largest, steps)
        later = self.later
        after = later._seconds(later.first, largest, largest * later.n_steps)
        share = later.n_steps / self.n_steps
        return {
            size: (1 - share) * own[size] + share * after[size]
            for size in own
            if size in after
        }
