"""A recorded training run: its steps and states."""

from .._names import set_public_module
from ..training import StepRecord, parameters_digest
from ._disk.format import from_json, tensors_from_bytes, tensors_to_bytes, to_json
from ._disk.manifest import read_manifest
from ._disk.ownership import check_replaceable
from ._replay import Replay, on_threads
from ._run_folders import (
    begin_run,
    close_run,
    is_starting,
    reopen_run,
    reopened,
    resumed,
    run_folders,
)
from ._schedule import Schedule, fewest_states, leaves_room, smallest_interval
from ._spill import held_on_device, spill
from ._trajectory import Trajectory, held_by, reread
from ._words import run_in_words

__all__ = [
    "Replay",
    "Schedule",
    "StepRecord",
    "Trajectory",
    "begin_run",
    "check_replaceable",
    "close_run",
    "fewest_states",
    "from_json",
    "held_by",
    "held_on_device",
    "is_starting",
    "leaves_room",
    "on_threads",
    "parameters_digest",
    "read_manifest",
    "reopen_run",
    "reopened",
    "reread",
    "resumed",
    "run_folders",
    "run_in_words",
    "smallest_interval",
    "spill",
    "tensors_from_bytes",
    "tensors_to_bytes",
    "to_json",
]

set_public_module(globals())
