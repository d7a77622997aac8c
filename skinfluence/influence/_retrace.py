"""The retrace: the adjoint of the query, carried backwards through the run."""

from collections.abc import Callable, Iterable, Mapping
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
    slopes, places = [], []
    # A sample's place in the sum; with epochs apart, one for each of them.
    n_parts = trajectory.n_epochs if by_epoch else 1
    put_in, largest = 0.0, 0.0
    every = -(-(max(at) - first) // _LOOKS)
    replay = Replay(trajectory, step)
    step = step if back is None else back
    walk = replay.backwards(max(at), first, progress)
    for record, before, after in step.kernels.around(walk):
        before, after = (s.of_dtype(step.live.dtype) for s in (before, after))
        weight = at.get(record.step + 1)
        if weight:
            with on_threads(record.n_threads):
                asked = weight * query.gradient(step, after)
            adjoint = {**adjoint, PARAMETERS: adjoint.get(PARAMETERS, 0) + asked}
            put_in += float(asked.norm())
        if record.step % every == 0:
            largest = max(largest, float(adjoint[PARAMETERS].norm()))
        with on_threads(record.n_threads):
            retaken = step.backward(before, record, adjoint)
        replay.compare(record, retaken, before, after)
        if watch is not None:
            watch(record, before, retaken)
        slopes.append(retaken.slopes)
        adjoint = retaken.adjoint
        place = record.rows * n_parts + record.epoch - 1 if by_epoch else record.rows
        places.append(place)
        del before, after  # the walk decides which states stay in memory
    _check_finite(adjoint)
    # One sum over all steps, in double precision whatever they were computed in.
    total = torch.cat(slopes, dim=-1).double()
    scores = total.new_zeros(*total.shape[:-1], trajectory.n_samples * n_parts)
    scores.index_add_(-1, torch.cat(places).to(total.device), total, alpha=-1)
    if by_epoch:
        scores = scores.unflatten(-1, (trajectory.n_samples, n_parts))
    scores = scores.movedim(0, -1) if total.dim() == 2 else scores
    growth = largest / put_in if put_in else 0.0
    return Retraced(scores, growth, adjoint[PARAMETERS])


def _check_finite(adjoint: Adjoint) -> None:
    # inf and NaN persist on the way back: one check at the end is enough.
    if not all(vector.isfinite().all() for vector in adjoint.values()):
        raise DivergedTrainingError(
            "The retrace overflowed (inf or NaN): small changes early in this run grow "
            "without bounds. Retrace fewer epochs (`last_epochs`), or train with "
            "a smaller learning rate or for fewer epochs."
        )
