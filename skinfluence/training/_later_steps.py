"""Whether gradients have the derivatives that autograd gives them, later in a run."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache

import torch
from torch import Tensor

from ._borrowed import borrowed
from ._embeddings import check_options
from ._flat import State
from ._kernels import twice_differentiable
from ._precision import wide, widen
from ._record import MicroBatch, StepRecord
from ._second_derivative import _DerivativeTest, check_second_derivative
from ._step import TrainingStep

Taken = tuple[State, StepRecord, MicroBatch]
"""What a step began from, its record, and a batch of it."""


def check_later_steps(
    step: TrainingStep, taken: Iterable[Taken], reached: Tensor, remedy: str
) -> None:
    """Refuse steps of a run as :func:`check_second_derivative` does.

    All are looked at on the same modules in double precision. What is not seen to be
    right there is tested by itself, and in its own precision if need be.

    Parameters
    ----------
    step : TrainingStep
        The run's training step; its modules hold no state in particular after a call.
    taken : iterable of (State, StepRecord, MicroBatch)
        What each step began from, its record, and the samples to look at.
    reached : Tensor of shape (p,)
        Which elements of the parameters some step has moved: a step that leaves them
        where they are depends on them no less.
    remedy : str
        What to do instead: the last sentence of the error's message.

    Raises
    ------
    UnsupportedModuleError
        If torch cannot compute the derivative of one, or not rightly.
    """
    check_options(step.objective, remedy)
    live = step.live
    pieces = live.layout.split(reached.to(live.dtype))
    masks = {p: piece != 0 for p, piece in zip(live.parameters, pieces, strict=True)}
    moved = [k for k, mask in enumerate(masks.values()) if mask.any()]

    def parameters(record: StepRecord) -> tuple[Tensor, ...]:
        return tuple(live.parameters[k] for k in sorted({*moved, *record.active}))

    for state, record, batch in _suspects(step, taken, parameters, masks):
        live.show(state)
        own = parameters(record)
        check_second_derivative(step.objective, own, batch, remedy, masks)


def _suspects(
    step: TrainingStep,
    taken: Iterable[Taken],
    parameters: Callable[[StepRecord], tuple[Tensor, ...]],
    reached: Mapping[Tensor, Tensor],
) -> list[Taken]:
    """Return the steps whose derivative is not seen to be right in double precision."""
    objective, live = step.objective, step.live
    with (
        warnings.catch_warnings(),
        twice_differentiable(objective.modules),
        borrowed(objective, live.parameters, double=True) as own,
    ):
        warnings.simplefilter("ignore")  # training gave the same warnings

        @cache
        def test_of(some: tuple[Tensor, ...]) -> _DerivativeTest:
            return _DerivativeTest(own, some, reached)

        def passes(state: State, record: StepRecord, batch: MicroBatch) -> bool:
            data = objective.fetch(batch)
            live.show(state)
            widen(live.parameters, torch.float64)
            try:
                test = test_of(parameters(record))
                test.begin(wide(data, torch.float64), batch.seed or 0)
                return test.passes()
            except Exception:  # code may know no precision but its own
                return False

        return [each for each in taken if not passes(*each)]
