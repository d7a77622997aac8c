"""Several steps of the way back in one call, with no Python in between."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ._compiled import CompiledStep
from ._compiler import Call, CompiledFunctions, Function
from ._flat import PARAMETERS, LiveState, State
from ._graph import count_operations
from ._objective import Objective
from ._record import StepRecord
from ._retaken import (
    Adjoint,
    Around,
    Block,
    Retaken,
    RetakenTogether,
    Update,
    with_more,
)
from ._rounding import Tensors
from ._step import Pulled, TrainingStep, one_by_one

# How many. Of an MLP 64-32-10 a step takes 80 µs alone, 60 among four and 54 among
# eight, which compile in 15, 23 and 31 s.
_AT_ONCE = 8

# In a shorter run there is nothing to gain: to compile them takes ten seconds, and to
# load them half of one.
_LEAST_STEPS = 100

# Of a small step: the parameters and what its forward pass keeps, and its operations,
# with which the time to compile grows.
_MOST_VALUES = 2**16
_MOST_OPERATIONS = 32

Together = tuple[Sequence[Retaken | RetakenTogether], Adjoint]


class JoiningStep(CompiledStep):
    """A compiled step, of which several are pulled back in one call where that pays.

    A small step's kernels take less time than all that is done around them. Joined are
    steps of one form whose update is linear, on a CPU: CUDA graphs launch all kernels
    of a step at once anyway. Where the joined code differs from the steps' own, they
    are taken one by one.

    Parameters
    ----------
    objective, live, batch_size, compiled : object
        As in :class:`CompiledStep`.
    n_steps : int
        Number of steps in the run.
    """

    def __init__(
        self,
        objective: Objective,
        live: LiveState,
        batch_size: int,
        compiled: CompiledFunctions,
        n_steps: int,
    ) -> None:
        super().__init__(objective, live, batch_size, compiled)
        small = live.layout.size <= _MOST_VALUES and not live.buffers
        if (
            n_steps >= _LEAST_STEPS
            and small
            and self.device.type == "cpu"
            and isinstance(self.eps, float)
        ):
            self.at_once = _AT_ONCE

    def backwards(
        self,
        stretch: Sequence[Around],
        adjoint: Adjoint,
        asked: Sequence[Tensor | None],
    ) -> Together:
        """Pull the adjoint back through several steps, see :class:`TrainingStep`."""
        if len(stretch) == _AT_ONCE and self.compiled.joins is not False:
            joined = self._join(stretch, with_more(adjoint, asked[0]))
            if joined is not None:
                found = self._together(joined, adjoint, asked)
                if found is not None:
                    return found
        # To compile for the few steps that are left would take longer than they do.
        pull = self._eager if self.compiled.joins else self.backward
        return one_by_one(pull, stretch, adjoint, asked)

    def _eager(self, state: State, step: StepRecord, adjoint: Adjoint) -> Retaken:
        return TrainingStep.backward(self, state, step, adjoint)

    def _join(
        self, stretch: Sequence[Around], adjoint: Adjoint
    ) -> "JoinedSteps | None":
        """Return the steps as one, if they are small and of one form."""
        if not all(self._compilable(before, r, adjoint) for r, before, _ in stretch):
            return None
        blocks = [self._blocks(before, record) for record, before, _ in stretch]
        if not all(len(each) == 1 and _is_linear(each[0]) for each in blocks):
            return None
        calls = self._calls(stretch)
        joined = JoinedSteps.of(stretch, calls, [block for (block,) in blocks])
        if joined is not None and self.compiled.joins is None:
            self.compiled.joins = self._is_small(*stretch[0][:2])
        return joined if self.compiled.joins else None

    def _is_small(self, step: StepRecord, state: State) -> bool:
        self.live.show(state)
        self.objective.train(True)
        (batch,) = step.micro_batches()
        n_operations = count_operations(self.objective.batch_losses(batch)[0])
        n_values = self.activation_bytes(step) // state.parameters.itemsize
        return n_operations <= _MOST_OPERATIONS and n_values <= _MOST_VALUES

    def _calls(self, stretch: Sequence[Around]) -> list[Call]:
        """Return the steps as the compiled functions see them."""
        batches = [self._filled(record) for record, _, _ in stretch]
        if self.objective.by_rows and len({batch.data for batch in batches}) == 1:
            # To fetch the rows of all of them takes as long as those of one.
            rows = torch.cat([batch.rows for batch in batches])
            data, weights = self._fetch(replace(batches[0], rows=rows))
            parts = data.parts(self.batch_size)
            if parts is not None:
                own: Sequence[Any] = [None] * len(parts)
                if weights is not None:
                    own = weights.split(self.batch_size)
                return [
                    self._call_of(part, weight, state, step)
                    for part, weight, (step, state, _) in zip(
                        parts, own, stretch, strict=True
                    )
                ]
        return [self._call(state, step) for step, state, _ in stretch]

    def _together(
        self,
        joined: "JoinedSteps",
        adjoint: Adjoint,
        asked: Sequence[Tensor | None],
    ) -> Together | None:
        """Pull the adjoint back through joined steps; None if the code is wrong."""
        stretch, number = joined.stretch, self.compiled.number(("retake", joined.form))
        use = "retake", number, self.batch_size

        def compute() -> Together:
            self.objective.train(True)
            _, pull = self._traceable(joined.calls[0], stretch[0][0])
            retake = joined.retake(self._pull_through, pull)
            carried, each = joined.arguments(adjoint, asked)
            live = self._live()
            found = self.compiled.scan(retake, number, carried, each, live)
            return joined.results(*found)

        with self.kernels:
            if use in self.compiled.trusted:
                found = compute() if self.compiled.trusted[use] else None
            else:
                own = one_by_one(self._eager, stretch, adjoint, asked)
                found = self.compiled.first_use(
                    use, compute, _vectors, _vectors(own), None
                )
        if found is None:
            self.compiled.joins = False
            return None
        for step, state, _ in stretch:
            self._note_stops(state, step)
        return found


def _is_linear(block: Block) -> bool:
    """Whether it is a linear update, of all parameters."""
    return block.places is None and block.rule.linear


def _vectors(found: Together) -> list[Tensors]:
    """Return what pulled-back steps give, each to be compared by itself."""
    retaken, adjoint = found
    vectors = [*(each.slopes for each in retaken), *map(adjoint.get, sorted(adjoint))]
    return [[vector] for vector in vectors]


@dataclass(frozen=True, slots=True)
class JoinedSteps:
    """Steps of one form that follow each other, the last first.

    Attributes
    ----------
    stretch : sequence of (StepRecord, State, State)
        The steps, with the states before and after each.
    calls : sequence of Call
        Their batches.
    updates : sequence of Update
        The updates of all parameters, linear ones.
    moments, names : tuple of str
        The optimizer's moments before each step, and the adjoint's vectors.
    """

    stretch: Sequence[Around]
    calls: Sequence[Call]
    updates: Sequence[Update]
    moments: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def of(
        cls,
        stretch: Sequence[Around],
        calls: Sequence[Call],
        blocks: Sequence[Block],
    ) -> "JoinedSteps | None":
        """Join steps, given their batches and updates; None if their forms differ."""
        moments = {tuple(before.moments) for _, before, _ in stretch}
        if len({call.key for call in calls}) > 1 or len(moments) > 1:
            return None
        updates = [
            block.linearize(before, before.parameters)
            for block, (_, before, _) in zip(blocks, stretch, strict=True)
        ]
        if len({tuple(update.jacobian) for update in updates}) > 1:
            return None
        names = dict.fromkeys(output for output, _ in updates[0].jacobian)
        return cls(stretch, calls, updates, moments.pop(), tuple(names))

    @property
    def form(self) -> Hashable:
        """What other steps must share to use the same function."""
        ways = tuple(self.updates[0].jacobian)
        return self.calls[0].key, ways, self.moments, len(self.stretch)

    def retake(
        self,
        pull_through: Callable[..., Retaken],
        pull: Callable[..., Sequence[Tensor]],
    ) -> Function:
        """Return a function of tensors that pulls the adjoint back through one step.

        Parameters
        ----------
        pull_through : callable
            ``pull_through(updates, state, adjoint, pull) -> Retaken``.
        pull : callable
            ``pull(parameters, *batch, direction)`` returns what is :class:`Pulled`.
        """
        block, ways = self.updates[0].block, tuple(self.updates[0].jacobian)
        scalars = self.stretch[0][1].scalars

        def retake(*tensors: Tensor) -> tuple[Tensor, ...]:
            given = iter(tensors)
            adjoint = {name: next(given) for name in self.names}
            asked, after, slopes, flat = (next(given) for _ in range(4))
            before = State(
                flat, {name: next(given) for name in self.moments}, scalars, ()
            )
            update = Update(block, dict(zip(ways, slopes.unbind(), strict=True)), None)
            retaken = pull_through(
                [update],
                before,
                with_more(adjoint, asked),
                lambda direction: Pulled(*pull(flat, *given, direction)),
            )
            own = retaken.given[PARAMETERS]
            squares = update.squares(before, retaken.gradient, after, after)
            numbers = torch.stack([retaken.loss, own @ own, *squares])
            vectors = (retaken.adjoint[name] for name in self.names)
            return *vectors, retaken.slopes, numbers

        return retake

    def arguments(
        self, adjoint: Adjoint, asked: Sequence[Tensor | None]
    ) -> tuple[Sequence[Tensor], Sequence[Sequence[Tensor]]]:
        """Return the tensors that the function is given first, and in each call."""
        none = torch.zeros_like(self.stretch[0][1].parameters)
        slopes = _as_tensors(self.updates, none.device)
        each = [
            (
                none if more is None else more,
                after.parameters,
                own,
                before.parameters,
                *(before.moments[name] for name in self.moments),
                *call.tensors,
            )
            for (_, before, after), call, own, more in zip(
                self.stretch, self.calls, slopes, asked, strict=True
            )
        ]
        return [adjoint.get(name, none) for name in self.names], each

    def results(
        self, carried: Sequence[Tensor], others: Sequence[Sequence[Tensor]]
    ) -> tuple[Sequence[RetakenTogether], Adjoint]:
        """Return the steps, and the adjoint before them, from what the calls return."""
        retaken = []
        for call, update, (slopes, numbers) in zip(
            self.calls, self.updates, others, strict=True
        ):
            loss, square, *squares = numbers.unbind()
            own = slopes[: call.size]
            retaken.append(RetakenTogether(loss, own, square, update, squares))
        return retaken, dict(zip(self.names, carried, strict=True))


def _as_tensors(updates: Sequence[Update], device: torch.device) -> list[Tensor]:
    """Return the numbers of each update's Jacobian as a tensor."""
    last: tuple[Any, Any] = (None, None)
    found = []
    for update in updates:
        if update.jacobian is not last[0]:  # most often it is that of the step before
            numbers = list(map(float, update.jacobian.values()))
            tensor = torch.tensor(numbers, dtype=torch.float64, device=device)
            last = update.jacobian, tensor
        found.append(last[1])
    return found
