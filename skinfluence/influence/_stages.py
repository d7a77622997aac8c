"""The retrace through a run, the run that it started from, and so on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from ..training import Handover, State, TrainingStep
from ..trajectory import Trajectory
from ._queries import Differentiable
from ._retrace import Progress, Retraced, retrace


@dataclass(frozen=True, slots=True)
class Stage:
    """One training run of several that followed one another.

    Attributes
    ----------
    trajectory : Trajectory
        The run.
    step : TrainingStep
        Its training step.
    back : TrainingStep
        The step for the way back, as in :func:`retrace`; its state holds all parameters
        that the run was given by the stage before it, if the way back goes on there.
    at : mapping of int to float
        Number of a state -> its weight in the query.
    first : int
        The earliest step to go back to.
    handover : Handover or None
        What the run was given by the stage before it.
    """

    trajectory: Trajectory
    step: TrainingStep
    back: TrainingStep
    at: Mapping[int, float]
    first: int = 0
    handover: Handover | None = None


@dataclass(frozen=True, slots=True)
class FinalSlope:
    """A query of a run's final state whose gradient is given, by the later run."""

    slope: Tensor

    def gradient(self, step: TrainingStep, state: State) -> Tensor:
        """Return ∂Q/∂θ at the final state, of shape ``(p,)`` or ``(q, p)``."""
        return self.slope


def retrace_stages(
    stages: Sequence[Stage], query: Differentiable, progress: Progress = iter
) -> Retraced:
    r"""Estimate how the query would change without each sample of the earliest stage.

    The adjoint that the way back through a stage ends with is handed to the stage
    before it, as the adjoint of that stage's final state. This is the chain rule
    through both trainings; Chen et al. (2020) approximate the same derivative at the
    optimum of each stage.

    Parameters
    ----------
    stages : sequence of Stage
        The last one trained first.
    query : Differentiable
        The query of the model of the first of them.
    progress : callable
        Wraps the iteration over the steps of each.

    Returns
    -------
    Retraced
        The influence of the samples of the last of them; its growth is the largest
        of any stage.

    References
    ----------
    H. Chen, S. Si, Y. Li, C. Chelba, S. Kumar, D. Boning, C.-J. Hsieh, "Multi-Stage
    Influence Function", NeurIPS 2020.
    """
    found = _retraced(stages[0], query, progress)
    growths = [found.growth]
    for stage, earlier in pairwise(stages):
        assert stage.handover is not None
        slope = stage.handover.backward(
            found.adjoint, stage.back.live, earlier.back.live
        )
        found = _retraced(earlier, FinalSlope(slope), progress)
        growths.append(found.growth)
    return Retraced(found.scores, max(growths), found.adjoint)


def _retraced(stage: Stage, query: Differentiable, progress: Progress) -> Retraced:
    return retrace(
        stage.trajectory,
        stage.step,
        query,
        stage.at,
        first=stage.first,
        back=stage.back,
        progress=progress,
    )
