"""Many counterfactual runs: the recorded steps repeated with other weights."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from .._progress import counting, tracked
from ..training import StepRecord, TrainingStep, same_loss
from ..trajectory import Replay, Trajectory
from ._stack import StackedStep
from ._targets import OtherTargets

logger = logging.getLogger(__name__)

Way = Literal["auto", "stacked", "loop"]

# Stacks of these sizes are tried before the work: a larger stack is not always a faster
# one, since it leaves the caches.
_TRIAL_SIZES = (4, 16, 64, 256, 1024)

# A trial takes one step to warm up and then these many at most; the fastest counts, as
# other programs may hold up some of them.
_TRIAL_STEPS = 8

# A trial, of two steps at least, ends early when it has taken this part of the time
# that all runs should take,
_TRIAL_SHARE = 0.05

# and no larger stack is tried after one that was that much slower than the best.
_HOPELESS = 1.3


class Ensemble:
    """The recorded run, repeated under other weights on its samples.

    Same initial state, batches, batch sizes, random numbers, learning rates and
    clipping (Definition 2 of Hara, Nitanda and Maehara, 2019), w_i as given.

    Parameters
    ----------
    trajectory : Trajectory
        The recorded run.
    step : TrainingStep
        Its training step.
    query : callable
        ``query() -> ()`` or ``(n_val,)``: the query at the parameters that the
        step's modules hold.
    at : mapping of int to float
        Number of a state -> its weight in the query.
    first : int
        The step before which everything is as recorded.
    way : {"auto", "stacked", "loop"}
        Whether runs are taken as large stacks or one after the other; ``"auto"``
        tries a few steps of both, and of stacks of several sizes.
    max_bytes : int
        How much a stack of runs may take.
    """

    def __init__(
        self,
        trajectory: Trajectory,
        step: TrainingStep,
        query: Callable[[], Tensor],
        at: Mapping[int, float],
        *,
        first: int = 0,
        way: Way = "auto",
        max_bytes: int = 2**29,
    ) -> None:
        self.trajectory = trajectory
        self.replay = Replay(trajectory, step)
        self.step = step
        self.query = query
        self.at = at
        self.first = first
        self.stop = max(at)
        self.way = way
        self.max_bytes = max_bytes
        self._recorded: dict[int, Tensor] = {}
        self._size: int | None = None
        self._repeated_from = self.stop

    @property
    def n_steps(self) -> int:
        """Number of steps of a run."""
        return self.stop - self.first

    def changes(self, weights: Tensor, others: OtherTargets | None = None) -> Tensor:
        """Return how the query changes under other weights and targets.

        Parameters
        ----------
        weights : Tensor of shape (runs, n_samples)
            The w_i of each run; 1 leaves a sample as it was, 0 removes it.
        others : OtherTargets or None
            The targets that are not the recorded ones.

        Returns
        -------
        Tensor of shape (runs,) or (runs, n_val)
            Q of the run minus Q of the recorded one; exactly 0 for an identical run.
        """
        begins = self._first_differences(weights, others)
        self._check_repeats(min(begins.tolist(), default=self.stop))
        moved = (begins < self.stop).nonzero().flatten()
        found: list[tuple[Tensor, Tensor]] = []
        with counting("Counterfactual runs", len(moved), "run") as advance:
            # Those that part from the recorded one at about the same step share all
            # before.
            for runs in self._chunks(moved[begins[moved].argsort()], begins):
                start = int(begins[runs].min())
                own = None if others is None else others[runs]
                found.append((runs, self._run(weights[runs], own, start)))
                advance(len(runs))
        like = self._value_at(self.stop)
        changes = like.new_zeros(len(weights), *like.shape)
        for runs, values in found:
            changes[runs] = values
        return changes

    def _check_repeats(self, start: int) -> None:
        """Compare the steps from `start` on with the recorded ones, once."""
        if start < self._repeated_from:
            self.replay.repeat(self._repeated_from, start)
            self._repeated_from = start

    def _first_differences(
        self, weights: Tensor, others: OtherTargets | None
    ) -> Tensor:
        """Return the first step of each run with a sample that is not as recorded."""
        begins = torch.full((len(weights),), self.stop)
        weighted = (weights != 1).cpu()
        for record in reversed(self.trajectory.records[self.first : self.stop]):
            differ = weighted[:, record.rows].any(1)
            if others is not None:
                for batch in record.micro_batches():
                    _, targets, _ = self.step.objective.fetch(batch)
                    differ = differ | others.differing(batch.rows, targets).any(1)
            begins[differ] = record.step
        return begins

    def _chunks(self, runs: Tensor, begins: Tensor) -> Iterator[Tensor]:
        if len(runs) == 0:
            return iter(())
        if self._size is None:
            start = int(begins[runs].min())
            steps = int((self.stop - begins[runs]).sum())
            self._size = self._fastest_size(start, self._stack_size(len(runs)), steps)
        return iter(runs.split(self._size))

    def _stack_size(self, runs: int) -> int:
        """Return how many runs fit into memory."""
        record = self.trajectory.records[self.first]
        vectors = 3 + len(self.step.live.moments)
        parameters = sum(parameter.nbytes for parameter in self.step.live.parameters)
        each = vectors * parameters + 2 * self.step.activation_bytes(record)
        return max(1, min(runs, self.max_bytes // each - 1))

    def _run(self, weights: Tensor, others: OtherTargets | None, start: int) -> Tensor:
        alone = len(weights) == 1 and self.way != "stacked"
        run = self._loop if alone else self._stack
        return run(weights, others, start)

    def _loop(self, weights: Tensor, others: OtherTargets | None, start: int) -> Tensor:
        rows = []
        state = self.replay.state(start)
        later = sorted(number for number in self.at if number > start)
        recorded = sum(self.at[number] * self._value_at(number) for number in later)
        for run, own in enumerate(weights):
            step = self.step
            if others is not None:
                step = TrainingStep(others.in_run(step.objective, run), step.live)
            step.start(state)
            rows.append(self._follow(step, start, own) - recorded)
        return torch.stack(rows)

    def _stack(
        self, weights: Tensor, others: OtherTargets | None, start: int
    ) -> Tensor:
        # One run more, the recorded one: rounding is the same for it as for the others.
        weights = torch.cat([weights, torch.ones_like(weights[:1])])
        own = None if others is None else others.with_recorded()
        stack = StackedStep(self.step, len(weights), own)
        stack.start(self.replay.state(start))
        total = self._follow(stack, start, weights)
        return total[:-1] - total[-1]

    def _follow(
        self, step: TrainingStep, start: int, weights: Tensor | None = None
    ) -> Tensor:
        """Take the recorded steps from where the runs stand; return the query."""
        total: Any = 0.0
        records = self.trajectory.records[start : self.stop]
        for record in tracked(records, "Repetition", "step"):
            step.advance(record, None if weights is None else weights[..., record.rows])
            if weight := self.at.get(record.step + 1):
                total = total + weight * self._value(step)
        found: Tensor = total
        return found

    def _value(self, step: TrainingStep) -> Tensor:
        """Return the query where the runs stand."""
        self.step.objective.train(False)
        with torch.no_grad():
            return step.each(self.query)

    def _value_at(self, number: int) -> Tensor:
        """Return the query at a recorded state."""
        if number not in self._recorded:
            self.step.live.show(self.replay.state(number))
            self._recorded[number] = self._value(self.step)
        return self._recorded[number]

    def _fastest_size(self, start: int, largest: int, steps: int) -> int:
        """Return how many runs to take at once; 1 for one after the other."""
        if self.way != "auto":
            return 1 if self.way == "loop" else largest
        if not self._repeats_stacked(start):
            return 1
        seconds = self._seconds(start, largest, steps)
        best = min(seconds, key=seconds.__getitem__)
        logger.info(
            "Runs are taken %s. Milliseconds for a step of a run, by the number of "
            "runs at once: %s.",
            f"{best} at once" if best > 1 else "one after the other",
            {size: round(1e3 * value, 3) for size, value in seconds.items()},
        )
        return best

    def _repeats_stacked(self, start: int) -> bool:
        """Whether a stack of the recorded run has the recorded losses.

        Some operations draw other numbers under vmap, or do not see the stack.
        """
        stack = StackedStep(self.step, 2)
        stack.start(self.replay.state(start))
        try:
            for record in self.trajectory.records[start : self.stop][:_TRIAL_STEPS]:
                loss = float(stack.advance(record)) / stack.runs
                if record.loss is None:
                    continue
                if not same_loss(loss, record.loss, 10 * self.step.tolerance):
                    logger.info("Runs are taken one after the other: a stack differs.")
                    return False
        except (RuntimeError, NotImplementedError, ValueError) as error:
            logger.info("Runs are taken one after the other: %s", error)
            return False
        return True

    def _seconds(self, start: int, largest: int, steps: int) -> dict[int, float]:
        """Try some sizes of stacks; return what a step of a run takes in each."""
        records = self.trajectory.records[start : self.stop][: _TRIAL_STEPS + 1]
        state = self.replay.state(start)
        self.step.live.write(state)
        affordable = _TRIAL_SHARE * steps
        seconds = {1: _seconds_a_step(self.step, records)}
        for size in sorted({min(size, largest) for size in _TRIAL_SIZES} - {1}):
            if 2 * size > affordable and len(seconds) > 1:
                break
            try:
                stack = StackedStep(self.step, size)
                stack.start(state)
                budget = affordable * min(seconds.values())
                seconds[size] = _seconds_a_step(stack, records, budget) / size
            except (RuntimeError, NotImplementedError, ValueError) as error:
                # vmap raises these for modules that it does not support; an error of
                # the module itself is raised again by the loop.
                logger.info("Runs cannot be stacked: %s", error)
                return {1: seconds[1]}
            if seconds[size] > _HOPELESS * min(seconds.values()):
                break
        return seconds


def _seconds_a_step(
    step: TrainingStep, records: Sequence[StepRecord], budget: float = math.inf
) -> float:
    # The first step is slower than the others, whichever way.
    times = [time.perf_counter()]
    for record in records:
        step.advance(record)
        times.append(time.perf_counter())
        if len(times) > 2 and times[-1] - times[0] > budget:
            break
    seconds = [end - start for start, end in pairwise(times)]
    return min(seconds[1:] or seconds)
