"""Which states of a run are kept, and how its steps are walked backwards: a plan."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from checkpoint_schedules import Forward, MultistageCheckpointSchedule, Reverse


@dataclass(frozen=True, slots=True)
class Advance:
    """Take steps from a held state on, and hold the state that they lead to."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Check:
    """Go on from the state just reached: it must lead to the next kept state."""

    low: int  # the kept state before
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Backward:
    """Go back through a step; the states before and after it are held."""

    step: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Let a recomputed state go."""

    state: int


Action = Advance | Check | Backward | Drop


def fewest_states(n_steps: int) -> int:
    """Return how many states a run of some length must be given room for.

    With about √T states each step is recomputed once. From some length on
    2·log2(T) states are fewer; then at most T·log2(T)/2 steps are recomputed.
    """
    root = _least_peak(n_steps)
    return min(root, int(2 * math.log2(n_steps))) if n_steps >= 16 else root


def _least_peak(n_steps: int) -> int:
    # The smallest ceil(T / k) + k of all k.
    return math.isqrt(4 * n_steps - 1) + 1 if n_steps else 1


def smallest_interval(n_steps: int, max_states: int) -> int:
    """Return how far apart kept states must lie for a walk to hold at most so many.

    Parameters
    ----------
    n_steps : int
        Number of steps of the run.
    max_states : int
        How many states may be held, kept and recomputed ones together; not below
        `fewest_states`.
    """
    if max_states < _least_peak(n_steps):
        # Half of the states are kept, the others are for the walk within a segment.
        return -(-n_steps // (max_states // 2 - 1))
    low, high = 1, max(1, math.isqrt(n_steps - 1) + 1 if n_steps else 1)
    while low < high:  # up to √T the peak falls with the interval
        middle = (low + high) // 2
        if -(-n_steps // middle) + middle <= max_states:
            high = middle
        else:
            low = middle + 1
    return low


def leaves_room(n_kept: int, interval: int, max_states: float) -> bool:
    """Whether so many kept states leave room for the walk between two of them."""
    return n_kept + interval - 1 <= max_states or n_kept <= max_states // 2


@dataclass(frozen=True)
class Schedule:
    """How to walk backwards from one state of a run to another.

    From each kept state the steps up to the next one are taken again. Where there is
    room for all states between the two, this is done once; otherwise as few times as
    the room allows, by the binomial schedule of Griewank and Walther [1]_.

    Parameters
    ----------
    kept : sequence of int
        Numbers of the states that are kept, in order; the final state is the last.
    stop, first : int
        The state to begin at, and the earlier one to end at.
    max_states : float
        How many states may be held at once, kept and recomputed ones together.
    unchecked : collection of int
        Kept states that the steps before do not lead to.

    References
    ----------
    .. [1] A. Griewank, A. Walther, "Algorithm 799: revolve", ACM Transactions on
       Mathematical Software 26(1), 2000.
    """

    kept: Sequence[int]
    stop: int
    first: int = 0
    max_states: float = math.inf
    unchecked: frozenset[int] = frozenset()

    def __iter__(self) -> Iterator[Action]:
        """Yield what is to be done, in order."""
        for low, bottom, top, high, room, checked in self._segments():
            if high == low + 1:  # as in a run of which every state is kept
                yield Backward(low)
            else:
                yield from _segment(low, bottom, top, high, room, checked)

    def _segments(self) -> Iterator[tuple[int, int, int, int, float, bool]]:
        # Two states always: one at hand, and the one after it.
        room = max(self.max_states - len(self.kept), 2)
        for low, high in reversed(list(pairwise(self.kept))):
            if low < self.stop and high > self.first:
                bottom, top = max(low, self.first), min(high, self.stop)
                yield low, bottom, top, high, room, high not in self.unchecked

    @property
    def peak_states(self) -> int:
        """The most states held at once, all kept ones included."""
        return len(self.kept) + max((held for held, _ in self._costs()), default=0)

    @property
    def recomputed_steps(self) -> int:
        """How many steps are taken again, those up to the checks included."""
        return sum(steps for _, steps in self._costs())

    def _costs(self) -> Iterator[tuple[int, int]]:
        for low, bottom, top, high, room, checked in self._segments():
            yield _cost(bottom - low, top - low, high - low, room, checked)


def _segment(
    low: int, bottom: int, top: int, high: int, room: float, checked: bool
) -> Iterator[Action]:
    """Go back from `top` to `bottom`, which lie between two kept states."""
    # If the state to begin at is not kept, it is found on the way to the one after it.
    end = min(high, top + 1)
    checked = checked and end > low + 1
    held = set()
    for action in _binomial(low, end, room):
        if isinstance(action, Advance):
            held.add(action.stop)
            yield action
            continue
        if checked:
            yield Check(low, end - 1, high)
            checked = False
        if action.step < top:
            yield action
            if action.step + 1 < high:
                held.remove(action.step + 1)
                yield Drop(action.step + 1)
        if action.step == bottom:
            break
    for state in sorted(held):
        yield Drop(state)


@lru_cache
def _cost(
    bottom: int, top: int, high: int, room: float, checked: bool
) -> tuple[int, int]:
    """Return how many states a segment holds at most, and its recomputed steps."""
    held = peak = steps = 0
    for action in _segment(0, bottom, top, high, room, checked):
        held += isinstance(action, Advance) - isinstance(action, Drop)
        peak = max(peak, held)
        if isinstance(action, Advance | Check):
            steps += action.stop - action.start
    return peak, steps


def _binomial(low: int, end: int, room: float) -> Iterator[Advance | Backward]:
    """Go back from state `end` to `low` with room for so many states between."""
    length = end - low
    if length == 1:
        yield Backward(low)
        return
    # One snapshot is `low` itself. Where steps are to be taken again, the states
    # before and after the step at hand are held beside the snapshots.
    snapshots = length - 1 if room >= length - 1 else max(int(room) - 1, 1)
    for action in MultistageCheckpointSchedule(length, snapshots, 0):
        if isinstance(action, Forward) and not action.write_adj_deps:
            yield Advance(low + action.n0, low + action.n1)
        elif isinstance(action, Reverse):
            yield Backward(low + action.n0)
