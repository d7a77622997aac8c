"""What a training run did: its recorded steps and states."""

from ._record import StepRecord, parameters_digest
from ._replay import Replay
from ._schedule import Schedule, fewest_states, leaves_room, smallest_interval
from ._trajectory import Trajectory

__all__ = [
    "Replay",
    "Schedule",
    "StepRecord",
    "Trajectory",
    "fewest_states",
    "leaves_room",
    "parameters_digest",
    "smallest_interval",
]
