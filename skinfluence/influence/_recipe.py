"""The derivatives in a run's own options, summed up on the way back."""

import torch
from torch import Tensor

from ..training import Retaken, State, StepRecord, TrainingStep
from ..trajectory import Trajectory


class Recipe:
    r"""Watches a retrace, and differentiates in the optimizer's options at each step.

    With the step's update :math:`s_{t+1} = U(s_t, g_t; h_t)` and the adjoint of what it
    led to,

    .. math:: \frac{∂Q}{∂h_t} = λ_{t+1}^\top \frac{∂U}{∂h_t},

    the sum over the parameter groups: the same is added to the option of each.

    Parameters
    ----------
    trajectory : Trajectory
        The run.
    step : TrainingStep
        The step for the way back: it is told to differentiate in the options.
    """

    def __init__(self, trajectory: Trajectory, step: TrainingStep) -> None:
        step.in_options = True
        self._n_steps = trajectory.n_steps
        self._found: dict[str, list[tuple[int, Tensor]]] = {}

    def watch(self, record: StepRecord, before: State, retaken: Retaken) -> None:
        """Take a step of the retrace into account."""
        for update in retaken.updates:
            slopes = update.option_slopes(before, retaken.gradient, retaken.given)
            for name, slope in slopes.items():
                self._found.setdefault(name, []).append((record.step, slope))

    def slopes(self) -> dict[str, Tensor]:
        """Return ∂Q/∂h of each step, (n_steps,) float64, by the option's name.

        0 for a step that was not retraced.
        """
        return {
            name: torch.zeros(self._n_steps, dtype=torch.float64).index_add_(
                0,
                torch.tensor([step for step, _ in found]),
                torch.stack([slope.double() for _, slope in found]).cpu(),
            )
            for name, found in self._found.items()
        }
