"""Whether gradients have the derivatives that autograd gives them, later in a run."""

import warnings
from collections.abc import Iterable
from functools import cache

import torch

from ._borrowed import borrowed
from ._embeddings import check_options
from ._flat import State
from ._kernels import twice_differentiable
from ._precision import wide, widen
from ._record import StepRecord
from ._second_derivative import _DerivativeTest, check_second_derivative, few
from ._step import TrainingStep


def check_later_steps(
    step: TrainingStep, taken: Iterable[tuple[State, StepRecord]], remedy: str
) -> None:
    """Refuse steps of a run as :func:`check_second_derivative` does.

    All are looked at on the same modules in double precision. What is not seen to be
    right there is tested by itself, and in its own precision if need be.

    Parameters
    ----------
    step : TrainingStep
        The run's training step; its modules hold no state in particular after a call.
    taken : iterable of (State, StepRecord)
        The steps, and what they began from.
    remedy : str
        What to do instead: the last sentence of the error's message.

    Raises
    ------
    UnsupportedModuleError
        If torch cannot compute the derivative of one, or not rightly.
    """
    check_options(step.objective, remedy)
    for state, record in _suspects(step, taken):
        step.live.show(state)
        check_second_derivative(
            step.objective,
            [step.live.parameters[k] for k in record.active],
            record.data,
            record.rows,
            record.seed or 0,
            remedy,
        )


def _suspects(
    step: TrainingStep, taken: Iterable[tuple[State, StepRecord]]
) -> list[tuple[State, StepRecord]]:
    """Return the steps whose derivative is not seen to be right in double precision."""
    objective, live = step.objective, step.live
    with (
        warnings.catch_warnings(),
        twice_differentiable(objective.modules),
        borrowed(objective, live.parameters, double=True) as own,
    ):
        warnings.simplefilter("ignore")  # training gave the same warnings

        @cache
        def test_of(active: tuple[int, ...]) -> _DerivativeTest:
            return _DerivativeTest(own, [live.parameters[k] for k in active])

        def passes(state: State, record: StepRecord) -> bool:
            batch = objective.fetch(few(record.data, record.rows))
            live.show(state)
            widen(live.parameters, torch.float64)
            try:
                test = test_of(record.active)
                test.begin(wide(batch, torch.float64), record.seed or 0)
                return test.passes()
            except Exception:  # code may know no precision but its own
                return False

        return [each for each in taken if not passes(*each)]
