"""The retrace: the adjoint of the query, carried backwards through the run."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..exceptions import DivergedTrainingError
from ..training import (
    PARAMETERS,
    Adjoint,
    Retaken,
    State,
    StepRecord,
    TrainingStep,
)
from ..trajectory import Replay, Trajectory, on_threads
from ._queries import Differentiable

Progress = Callable[[Iterable[Any]], Iterable[Any]]

Watch = Callable[[StepRecord, State, Retaken], None]
"""Is shown each step, the state that it began from, and the step pulled back."""

# How many times the norm of the adjoint is taken: often enough to see it grow, too
# seldom to cost anything.
_LOOKS = 64


@dataclass(frozen=True, slots=True)
class Retraced:
    """The result of a retrace.

    Attributes
    ----------
    scores : Tensor of shape (n_samples,) or (n_samples, q), float64
        The change of Q without the sample, in Q's unit; 0 for a sample that no step
        used. By epoch, what each epoch's steps contributed to it: of shape
        (n_samples, n_epochs) or (n_samples, n_epochs, q).
    growth : float
        The largest norm of the adjoint on the way, over the sum of the norms of the
        query's gradients: how much the run amplifies a small change of its parameters.
    adjoint : Tensor of shape (p,) or (q, p)
        ∂Q/∂θ at the state where the way back ended.
    """

    scores: Tensor
    growth: float
    adjoint: Tensor


def retrace(
    trajectory: Trajectory,
    step: TrainingStep,
    query: Differentiable,
    at: Mapping[int, float],
    *,
    first: int = 0,
    back: TrainingStep | None = None,
    by_epoch: bool = False,
    progress: Progress = iter,
    watch: Watch | None = None,
) -> Retraced:
    r"""Estimate how the query would change without each sample.

    Algorithm 2 of Hara, Nitanda and Maehara (2019), for any optimizer: the adjoint
    :math:`λ_t = ∂Q/∂s_t` runs backwards through the recorded steps, and

    .. math:: \text{influence}_i = - \sum_{t: i \in S_t} λ_{t+1}^\top ∂s_{t+1}/∂w_i.

    Parameters
    ----------
    trajectory : Trajectory
        The run.
    step : TrainingStep
        Its training step.
    query : Differentiable
        The query of the model.
    at : mapping of int to float
        Number of a state -> its weight in the query: Q is the weighted sum of the
        query at these states.
    first : int
        The earliest step to go back to; earlier ones are taken as given.
    back : TrainingStep or None
        The step for the way back, to differentiate in something other than the samples'
        weights, or in another precision; `step` by default.
    by_epoch : bool
        Whether to sum the steps of each epoch separately.
    progress : callable
        Wraps the iteration over the steps.
    watch : callable or None
        Is shown each step on the way.

    Returns
    -------
    Retraced
        The influence, and how the adjoint grew.
    """
    adjoint: Adjoint = {}
    # A sample's place in the sum; with epochs apart, one for each of them.
    n_parts = trajectory.n_epochs if by_epoch else 1
    sums = _Sums(trajectory.n_samples * n_parts)
    put_in, largest = 0.0, 0.0
    every = -(-(max(at) - first) // _LOOKS)
    replay = Replay(trajectory, step)
    step = step if back is None else back
    dtype = step.live.dtype
    at_once = step.at_once if watch is None else 1  # who watches sees each step
    stretches = replay.stretches(max(at), first, progress, at_once)
    for recorded in step.kernels.around(stretches):
        stretch = [
            (record, before.of_dtype(dtype), after.of_dtype(dtype))
            for record, before, after in recorded
        ]
        with on_threads(stretch[0][0].n_threads):
            asked = [
                weight * query.gradient(step, after)
                if (weight := at.get(record.step + 1))
                else None
                for record, _, after in stretch
            ]
            every_retaken, adjoint = step.backwards(stretch, adjoint, asked)
        put_in += sum(float(each.norm()) for each in asked if each is not None)
        for (record, before, after), retaken in zip(
            stretch, every_retaken, strict=True
        ):
            if record.step % every == 0:
                largest = max(largest, float(retaken.amplitude))
            replay.compare(record, retaken, before, after)
            if watch is not None:
                assert isinstance(retaken, Retaken)
                watch(record, before, retaken)
            rows = record.rows
            place = rows * n_parts + record.epoch - 1 if by_epoch else rows
            sums.subtract(retaken.slopes, place)
        # The walk decides which states stay in memory.
        del before, after, stretch, recorded
    check_finite(adjoint)
    scores = sums.total()
    if by_epoch:
        scores = scores.unflatten(0, (trajectory.n_samples, n_parts))
    growth = largest / put_in if put_in else 0.0
    return Retraced(scores, growth, adjoint[PARAMETERS])


class _Sums:
    """Minus the sum of slopes at each place, in double precision whatever they are."""

    def __init__(self, n_places: int) -> None:
        self._n_places = n_places
        self._slopes: list[Tensor] = []
        self._places: list[Tensor] = []
        self._total: Tensor | None = None

    def subtract(self, slopes: Tensor, places: Tensor) -> None:
        """Take the slopes of a step's samples into account, (batch,) or (q, batch)."""
        self._slopes.append(slopes)
        self._places.append(places)
        if slopes.dim() == 2:  # those of all steps may not fit in memory
            self._add_up()

    def total(self) -> Tensor:
        """Return the sums: (n_places,) or (n_places, q)."""
        if self._slopes:
            self._add_up()
        assert self._total is not None
        return self._total

    def _add_up(self) -> None:
        every = _joined(self._slopes).double().movedim(-1, 0)
        if self._total is None:
            self._total = every.new_zeros(self._n_places, *every.shape[1:])
        places = _joined(self._places).to(every.device)
        self._total.index_add_(0, places, every, alpha=-1)
        self._slopes, self._places = [], []


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim=-1)


def check_finite(adjoint: Mapping[str, Tensor]) -> None:
    """Refuse what overflowed on its way through the run, backwards or forwards."""
    # inf and NaN persist on the way: one check at the end is enough.
    if not all(vector.isfinite().all() for vector in adjoint.values()):
        raise DivergedTrainingError(
            "The retrace overflowed (inf or NaN): small changes early in this run grow "
            "without bounds. Retrace fewer epochs (`last_epochs`), or train with "
            "a smaller learning rate or for fewer epochs."
        )
