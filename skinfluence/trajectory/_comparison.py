"""Steps that are taken again, compared with what was recorded of them."""

from collections.abc import Sequence
from itertools import chain, islice

import torch
from torch import Tensor

from .._warnings import warn_caller
from ..exceptions import IrreproducibleStepError, NondeterminismWarning
from ..training import Deviation, StepRecord, same_loss

# Numbers are fetched from the device in batches: to wait for each would stall it.
_AT_ONCE = 256


class Comparison:
    """Collects how repeated steps differ from the recorded ones.

    Parameters
    ----------
    tolerance : float
        The relative difference of a loss that rounding may make.
    """

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self._seen: list[tuple[StepRecord, Tensor, Sequence[Deviation]]] = []
        self._first: tuple[StepRecord, str] | None = None
        self._rounding: tuple[int, int, float] | None = None

    def see(
        self, record: StepRecord, loss: Tensor, deviations: Sequence[Deviation] = ()
    ) -> None:
        """Compare the loss of a step just taken, and where its gradient leads.

        Parameters
        ----------
        record : StepRecord
            The record of the step.
        loss : Tensor of shape ()
            Its loss now.
        deviations : sequence of Deviation
            How far the recorded parameters are from where its gradient leads.
        """
        if record.loss is not None:
            self._seen.append((record, loss, deviations))
        if len(self._seen) >= _AT_ONCE:
            self._compare()

    def differs(self, record: StepRecord, what: str) -> None:
        """Note a step that is not the recorded one; the earliest is reported."""
        if self._first is None or record.step < self._first[0].step:
            self._first = record, what

    def rounded(self, start: int, stop: int, size: float) -> None:
        """Note steps that led to other bits; the largest difference is reported."""
        if self._rounding is None or size > self._rounding[2]:
            self._rounding = start, stop, size

    def finish(self) -> None:
        """Report what was seen since the last report.

        Raises
        ------
        IrreproducibleStepError
            If a step is not the recorded one.

        Warns
        -----
        NondeterminismWarning
            If steps led to states that differ by rounding.
        """
        self._compare()
        first, self._first = self._first, None
        rounding, self._rounding = self._rounding, None
        if first is not None:
            raise _irreproducible(*first)
        if rounding is not None:
            _warn_of_rounding(*rounding)

    def _compare(self) -> None:
        seen, self._seen = self._seen, []
        scalars = [
            [loss, *chain.from_iterable(d.scalars for d in deviations)]
            for _, loss, deviations in seen
        ]
        numbers = iter(_fetched([*chain.from_iterable(scalars)]))
        for record, _, deviations in seen:
            loss = next(numbers)
            within = [
                each.within_rounding([*islice(numbers, len(each.scalars))])
                for each in deviations
            ]
            assert record.loss is not None
            if not same_loss(loss, record.loss, self.tolerance):
                self.differs(record, f"its loss is {loss:.6g}, not {record.loss:.6g}")
            elif not all(within):
                self.differs(
                    record,
                    "its loss is the same, but the recorded parameters are not where "
                    "its gradient leads, as if the gradient had been changed",
                )


def _fetched(scalars: Sequence[Tensor]) -> list[float]:
    return torch.stack(list(scalars)).tolist() if scalars else []


def _irreproducible(record: StepRecord, what: str) -> IrreproducibleStepError:
    return IrreproducibleStepError(
        f"Step {record.step} (epoch {record.epoch}) gave a different result when it "
        f"was repeated: {what}. Something that is not recorded changed the training: a "
        "callback that changes the criterion or the module, a `get_losses` or "
        "`forward` that depends on the epoch, a gradient hook, data that was changed "
        "in place, or random numbers from a generator of its own, or in a module from "
        "NumPy's or Python's. Move it into what is recorded (the data, the learning "
        "rate, clipping, torch's generator; a Dataset or `collate_fn` may draw from "
        "every global one), or train with record=None."
    )


def _warn_of_rounding(start: int, stop: int, size: float) -> None:
    warn_caller(
        f"Repeating steps {start} to {stop - 1} led to parameters that differ by "
        f"{size:.1e} of the distance they moved from the recorded ones: sums were "
        "added in another order than in training, as another processor may do. On "
        "CUDA, to have the same bits, call torch.use_deterministic_algorithms(True) "
        "with the environment variable CUBLAS_WORKSPACE_CONFIG=:4096:8 before "
        "training; everywhere, keep every state (checkpoint_every=1).",
        NondeterminismWarning,
    )
