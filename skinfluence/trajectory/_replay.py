"""The recorded run, walked from its end; states that are not kept are recomputed."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch

from ..training import (
    Around,
    Linearized,
    RetakenTogether,
    State,
    StepRecord,
    TrainingStep,
    parameters_digest,
    same_loss,
)
from ._comparison import Comparison
from ._schedule import Advance, Backward, Check, Drop
from ._trajectory import Trajectory

# How much further than a loss, in its tolerance, parameters may be off after the steps
# between two kept states: rounding adds up.
_ADDED_UP = 100


class Replay:
    """The states of a recorded run: as kept, or by repeating steps.

    Every step that is taken again is compared with what was recorded of it.

    Parameters
    ----------
    trajectory : Trajectory
        The run.
    step : TrainingStep
        Its training step. Its modules hold no state in particular after a call.
    """

    def __init__(self, trajectory: Trajectory, step: TrainingStep) -> None:
        self.trajectory = trajectory
        self.step = step
        self.comparison = Comparison(step.tolerance)
        self._at: int | None = None

    def state(self, number: int) -> State:
        """Return a state of the run.

        Parameters
        ----------
        number : int
            Number of the step that began from it; the number of steps for the final
            state.

        Returns
        -------
        State
            As recorded; on a CPU to the bit.

        Raises
        ------
        IrreproducibleStepError
            If the repeated steps are not those of the training.

        Warns
        -----
        NondeterminismWarning
            If they differ from them by rounding.
        """
        return next(self.forwards([number]))

    def forwards(self, numbers: Iterable[int]) -> Iterator[State]:
        """Yield states of the run in their order; no step is taken twice.

        Parameters
        ----------
        numbers : iterable of int
            Numbers of the states, ascending.

        Yields
        ------
        State
            As :meth:`state` returns it, with the same errors.
        """
        reached, state = -1, None
        for number in numbers:
            base = self.trajectory.last_kept(number)
            if state is None or base > reached:
                reached, state = base, self.trajectory.state(base)
            if reached < number:
                self._at = None
                self._advance(state, reached, number)
                reached, state = number, self.step.live.read()
                self._check_digest(base, number, state)
                self.comparison.finish()
            yield state

    def _check_digest(self, base: int, number: int, state: State) -> None:
        """Compare a recomputed state with the digest of what was recorded."""
        record = self.trajectory.records[number - 1]
        if record.digest is not None and self._deterministic:
            # Parameters that were first trained later are no part of the digest.
            size = len(self.trajectory.state(base).parameters)
            if parameters_digest(state.parameters[:size]) != record.digest:
                self._see_difference(base, number, state)

    def _see_difference(self, base: int, number: int, state: State) -> None:
        """Tell rounding from another step where a state has no like to compare with."""
        following = self.trajectory.records[number]
        loss = self.step.loss_at(state, following)
        self._at = None
        if following.loss is not None:
            self.comparison.see(following, loss)
        self.comparison.rounded(base, number, 0.0)

    def repeat(self, stop: int, first: int = 0, *, renewed: bool = False) -> None:
        """Take steps again for nothing but to compare them with the recorded ones.

        Parameters
        ----------
        stop, first : int
            The state to end at, and the first step.
        renewed : bool
            Whether buffers may have been renewed between the steps, as by a callback:
            other runs would not have been given the same ones.

        Raises
        ------
        IrreproducibleStepError
            If a step is not the recorded one.
        """
        kept = set(self.trajectory.kept)
        bounds = sorted({first, stop} | {k for k in kept if first < k < stop})
        self._at = None
        for start, end in pairwise(bounds):
            begin = self.trajectory.last_kept(start)
            self._advance(self.trajectory.state(begin), begin, end)
            if end in self.trajectory.anchors:
                if not renewed:
                    self._check_buffers(end)
                self._at = None  # the next steps begin from the kept state
            elif end in kept:
                self._check(begin, end)
        self.comparison.finish()

    def backwards(
        self,
        stop: int,
        first: int = 0,
        progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    ) -> Iterator[Around]:
        """Yield the steps between two states, the last first, with the states around.

        A state that is not kept is freed once it was yielded as the state after a step.

        Parameters
        ----------
        stop : int
            Number of the state to begin at: that after step ``stop - 1``.
        first : int
            Number of the state to end at: that before step ``first``.
        progress : callable
            Wraps the iteration over the steps.

        Yields
        ------
        record : StepRecord
            The step.
        before, after : State
            What it began from, and what it led to.
        """
        for (around,) in self.stretches(stop, first, progress):
            yield around
            del around

    def stretches(
        self,
        stop: int,
        first: int = 0,
        progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
        size: int = 1,
    ) -> Iterator[list[Around]]:
        """Yield the same, several steps at once that were taken on as many threads.

        Parameters
        ----------
        stop, first, progress : object
            As in :meth:`backwards`.
        size : int
            How many steps, but for the last ones.

        Yields
        ------
        list of (StepRecord, State, State)
            The steps, the last first.
        """
        walk, stretch = self._walk(stop, first), list[Around]()
        # A progress bar holds what it passes on: it gets no states.
        for _ in progress(range(stop - first)):
            around = next(walk)
            if stretch and around[0].n_threads != stretch[0][0].n_threads:
                yield stretch
                stretch = []
            stretch.append(around)
            del around
            if len(stretch) == size:
                yield stretch
                stretch = []
        if stretch:
            yield stretch
        # Only now: the consumer compares the last steps too.
        self.comparison.finish()

    def compare(
        self,
        record: StepRecord,
        retaken: Linearized | RetakenTogether,
        before: State,
        after: State,
    ) -> None:
        """Compare a step that was linearized with the recorded one.

        Parameters
        ----------
        record : StepRecord
            The record of the step.
        retaken : Linearized or RetakenTogether
            The step, pulled back or pushed forward.
        before, after : State
            What it began from, and what it led to.
        """
        precision = self.step.tolerance, self.step.eps
        deviations = retaken.deviations(before, after, *precision)
        self.comparison.see(record, retaken.loss, deviations)

    def _walk(self, stop: int, first: int) -> Iterator[Around]:
        held: dict[int, State] = {}
        kept = self.trajectory.kept
        below = dict(zip(kept[1:], kept, strict=False))

        def find(number: int) -> State:
            if number in held:
                return held[number]
            state = self.trajectory.state(number)
            if number in below:
                self.trajectory._store.prefetch(below[number])
            return state

        self._at = None
        for action in self.trajectory.schedule(stop, first):
            match action:
                case Advance(start, end):
                    self._advance(find(start), start, end)
                    held[end] = self.step.live.read()
                case Check(low, start, end):
                    self._advance(find(start), start, end)
                    self._check(low, end)
                case Backward(number):
                    record = self.trajectory.records[number]
                    yield record, find(number), find(number + 1)
                    # The consumer may have changed the modules meanwhile.
                    self._at = None
                case Drop(number):
                    del held[number]

    def _advance(self, state: State, start: int, stop: int) -> None:
        """Take the steps from a state on, which the modules may hold already."""
        if self._at != start:
            self.step.live.write(state)
        for record in self.trajectory.records[start:stop]:
            with on_threads(record.n_threads):
                loss = self.step.advance(record)
            self.comparison.see(record, loss)
        self._at = stop

    @property
    def _deterministic(self) -> bool:
        return self.step.device.type == "cpu"

    def _check(self, base: int, number: int) -> None:
        """Compare the state just reached with the kept one."""
        recorded = self.trajectory.state(number)
        size, live = len(recorded.parameters), self.step.live
        found = live.layout.flatten(live.parameters).detach()[:size]
        if torch.equal(found, recorded.parameters):
            return
        state, self._at = live.read(), None
        moved = recorded.parameters - self.trajectory.state(base).parameters[:size]
        distance = (state.parameters[:size] - recorded.parameters).norm()
        share = float(distance / moved.norm())
        last = self.trajectory.records[number - 1]
        tolerance = self.comparison.tolerance
        if share <= _ADDED_UP * tolerance or self._same_loss(state, recorded, last):
            self.comparison.rounded(base, number, share)
        else:
            self.comparison.differs(
                last, f"the parameters differ by {share:.1e} of the distance they moved"
            )

    def _check_buffers(self, number: int) -> None:
        """Compare the buffers just reached with those of the kept state."""
        recorded = self.trajectory.state(number).buffers
        pairs = zip(self.step.live.buffers, recorded, strict=True)
        if not all(torch.allclose(one, other.to(one)) for one, other in pairs):
            self.comparison.differs(
                self.trajectory.records[number - 1],
                "after it something other than the step changed the module's buffers, "
                "and would have changed them otherwise in another run",
            )

    def _same_loss(self, one: State, other: State, record: StepRecord) -> bool:
        """Whether two states give a batch the same loss.

        So they do where they differ in what the loss does not depend on, such as a bias
        before BatchNorm, whose gradient is rounding that Adam makes whole steps of.
        """
        loss = float(self.step.loss_at(one, record))
        recorded = float(self.step.loss_at(other, record))
        return same_loss(loss, recorded, self.comparison.tolerance)


@contextmanager
def on_threads(number: int | None) -> Iterator[None]:
    """Compute on so many threads; None for as many as now.

    The bits depend on it, and a run is repeated on as many as it was recorded on. Each
    of Python's threads has a setting of its own.

    Parameters
    ----------
    number : int or None
        Number of torch's threads.
    """
    now = torch.get_num_threads()
    if number is None or number == now:
        yield
        return
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(now)
