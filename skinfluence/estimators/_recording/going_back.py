"""Which recorded state a net was put back to when its training ended."""

import torch
from torch import Tensor

from ..._warnings import warn_caller
from ...exceptions import InfluenceReliabilityWarning, IrreproducibleStepError
from ...trajectory import Replay, Trajectory, parameters_digest
from .._net import InfluenceNet
from .._replica import Replica


def go_back(net: InfluenceNet, trajectory: Trajectory, parameters: Tensor) -> None:
    """End the run at the last state that has the parameters.

    Parameters
    ----------
    net : InfluenceNet
        The net.
    trajectory : Trajectory
        The run, with all steps that were taken.
    parameters : Tensor of shape (p,)
        Those that the net has now, such as the best ones of the training.

    Warns
    -----
    InfluenceReliabilityWarning
        If no recorded state had them, so that none of them leads to the model.
    """
    digest, kept = parameters_digest(parameters), set(trajectory.kept)
    for number in range(trajectory.n_steps - 1, trajectory.first_recorded_step - 1, -1):
        if number in kept:
            state = trajectory.state(number)
        elif trajectory.records[number - 1].digest == digest:
            try:
                state = replay_of(net, trajectory).state(number)
            except IrreproducibleStepError:
                continue
        else:
            continue
        if torch.equal(state.parameters, parameters):
            trajectory.truncate(number, state)
            return
    trajectory.flaws[trajectory.n_steps] = (
        "after the last step the parameters were changed to values that no recorded "
        "step had"
    )
    warn_caller(
        "When training ended the parameters were changed to values that no recorded "
        "step had, such as an average: the influence on the model as it is now will be "
        "refused. That on the models at the ends of earlier epochs can be asked for "
        "(`at=`).",
        InfluenceReliabilityWarning,
    )


def replay_of(net: InfluenceNet, trajectory: Trajectory) -> Replay:
    """Return the replay of a run on a copy of the net."""
    return Replay(trajectory, Replica(net).step(trajectory))
