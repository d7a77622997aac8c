"""The recorded run, walked from its end."""

from collections.abc import Iterator

from ..training import State
from ._trajectory import StepRecord, Trajectory


def backwards(
    trajectory: Trajectory, stop: int, first: int = 0
) -> Iterator[tuple[StepRecord, State, State]]:
    """Yield the steps between two states, the last first, with the states around them.

    Parameters
    ----------
    trajectory : Trajectory
        The run.
    stop : int
        Number of the state to begin at: that after step ``stop - 1``.
    first : int
        Number of the state to end at: that before step ``first``.

    Yields
    ------
    record : StepRecord
        The step.
    before, after : State
        What it began from, and what it led to.
    """
    after = trajectory.state(stop)
    for record in reversed(trajectory.records[first:stop]):
        before = trajectory.state(record.step)
        yield record, before, after
        after = before
