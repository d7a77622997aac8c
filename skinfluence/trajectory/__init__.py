"""What a training run did: its recorded steps and states."""

from .._names import set_public_module
from ..training import StepRecord, parameters_digest
from ._disk.format import from_json, tensors_from_bytes, tensors_to_bytes, to_json
from ._disk.saving import reread
from ._replay import Replay
from ._run_folders import begin_run, close_run, go_on_with, recorded_runs, reopened
from ._schedule import Schedule, fewest_states, leaves_room, smallest_interval
from ._spill import held_on_device, spill
from ._trajectory import Trajectory

__all__ = [
    "Replay",
    "Schedule",
    "StepRecord",
    "Trajectory",
    "begin_run",
    "close_run",
    "fewest_states",
    "from_json",
    "go_on_with",
    "held_on_device",
    "leaves_room",
    "parameters_digest",
    "recorded_runs",
    "reopened",
    "reread",
    "smallest_interval",
    "spill",
    "tensors_from_bytes",
    "tensors_to_bytes",
    "to_json",
]

set_public_module(globals())
