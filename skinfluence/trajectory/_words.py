"""A recorded run in words."""

from typing import Any

from .._digits import counted, measured
from ..training import State

_UNITS = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "bytes": 1}


def run_in_words(run: Any) -> dict[str, str]:
    """Return what was recorded, how large it is, and what cannot be retraced.

    Parameters
    ----------
    run : Trajectory
        The run.

    Returns
    -------
    dict of str to str
        Facts by label.
    """
    size = measured(run.nbytes, _UNITS)
    first = max(run.first_recorded_step, *run.flaws, 0)
    facts = {
        "Recorded": (
            f"{counted(run.n_epochs, 'epoch')}, {counted(run.n_steps, 'step')} over "
            f"{counted(run.n_samples, 'sample')}"
        ),
        "Size": (
            f"{counted(len(run.kept), 'state')} kept, {size}, in "
            f"{run.folder or 'memory'}"
        ),
    }
    if run.final is not None:
        facts["A state"] = _state_in_words(run.final)
    if first > 0:
        why = f": {run.flaws[first]}" if first in run.flaws else ""
        facts["Retraced back to"] = f"step {first:,}{why}"
    if run.diverged_at is not None:
        facts["Not finite"] = f"from step {run.diverged_at:,} on"
    return facts


def _state_in_words(state: State) -> str:
    size = state.parameters.numel()
    parts = [counted(size, "parameter")]
    if state.moments:
        parts.append(f"{len(state.moments)} × {size:,} of the optimizer")
    buffers = sum(buffer.numel() for buffer in state.buffers)
    if buffers:
        parts.append(f"{buffers:,} in buffers")
    return f"{', '.join(parts)} ({str(state.parameters.dtype).removeprefix('torch.')})"
