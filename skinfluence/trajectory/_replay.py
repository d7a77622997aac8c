"""The recorded run, walked from its end; states that are not kept are recomputed."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..exceptions import IrreproducibleStepError, NondeterminismWarning
from ..training import State, StepRecord, TrainingStep, parameters_digest
from ._schedule import Advance, Backward, Check, Drop
from ._trajectory import Trajectory

Around = tuple[StepRecord, State, State]


class Replay:
    """The states of a recorded run: as kept, or by repeating steps.

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
            If on a CPU the repeated steps differ from those in training.
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
            yield state

    def _check_digest(self, base: int, number: int, state: State) -> None:
        """Compare a recomputed state with the digest of what was recorded."""
        recorded = self.trajectory.records[number - 1].digest
        if recorded is not None and self._deterministic:
            # Parameters that were first trained later are no part of the digest.
            size = len(self.trajectory.state(base).parameters)
            if parameters_digest(state.parameters[:size]) != recorded:
                raise _irreproducible(base, number)

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
        walk = self._walk(stop, first)
        # A progress bar holds what it passes on: it gets no states.
        for _ in progress(range(stop - first)):
            yield next(walk)

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
            self.step.advance(record)
        self._at = stop

    @property
    def _deterministic(self) -> bool:
        return self.step.device.type == "cpu"

    def _check(self, base: int, number: int) -> None:
        """Compare the state just reached with the kept one."""
        live = self.step.live
        recorded = self.trajectory.state(number).parameters
        found = live.layout.flatten(live.parameters).detach()[: len(recorded)]
        if torch.equal(found, recorded):
            return
        if self._deterministic:
            raise _irreproducible(base, number)
        warnings.warn(
            f"Repeating steps {base} to {number - 1} led to parameters that differ "
            f"from the recorded ones by up to {_relative(found, recorded):.1e} of the "
            "largest: this device does not add in the same order each time. To have "
            "the same bits, call torch.use_deterministic_algorithms(True) with the "
            "environment variable CUBLAS_WORKSPACE_CONFIG=:4096:8 before training, or "
            "keep every state (checkpoint_every=1).",
            NondeterminismWarning,
            stacklevel=2,
        )


def _relative(found: Tensor, recorded: Tensor) -> float:
    return float((found - recorded).abs().max() / recorded.abs().max())


def _irreproducible(base: int, number: int) -> IrreproducibleStepError:
    return IrreproducibleStepError(
        f"Repeating steps {base} to {number - 1} from their records does not lead to "
        "the recorded model. The net's loss, its data or its train_step depends on "
        "something that is not recorded."
    )
