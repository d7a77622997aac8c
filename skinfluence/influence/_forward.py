"""The retrace's transpose: the effect of a few samples, carried forwards."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..training import PARAMETERS, TangentStep, TrainingStep
from ..trajectory import Replay, Trajectory, on_threads
from ._queries import SampleQueries
from ._retrace import Progress, check_finite


def trace_forward(
    trajectory: Trajectory,
    step: TrainingStep,
    query: SampleQueries,
    at: Mapping[int, float],
    rows: Tensor,
    *,
    first: int,
    forth: TangentStep,
    progress: Progress = iter,
) -> Tensor:
    r"""Estimate how each single query would change without some samples.

    What :func:`retrace` with these queries estimates, by the transposed recursion

    .. math::

       δ_{t+1} = \frac{∂s_{t+1}}{∂s_t} δ_t - \frac{∂s_{t+1}}{∂w_j},
       \qquad \text{influence}_j = \sum_t v_t \frac{∂q}{∂s_t} δ_t,

    one for each sample instead of one for each query.

    Parameters
    ----------
    trajectory : Trajectory
        The run.
    step : TrainingStep
        Its training step.
    query : SampleQueries
        The queries of the model.
    at : mapping of int to float
        Number of a state -> its weight in the queries.
    rows : Tensor of shape (q,), int
        The samples.
    first : int
        The earliest step; earlier ones are taken as given.
    forth : TangentStep
        The step for the way forwards.
    progress : callable
        Wraps the iteration over the steps.

    Returns
    -------
    Tensor of shape (q, n_val), float64
        The changes, in the queries' unit.
    """
    live = forth.live
    places = torch.full((trajectory.n_samples,), -1)
    places[rows] = torch.arange(len(rows))
    like = live.parameters[0].new_zeros(len(rows), live.layout.size, dtype=live.dtype)
    tangent: Mapping[str, Tensor] = {PARAMETERS: like}
    replay = Replay(trajectory, step)
    states = replay.forwards(range(first, max(at) + 1))
    after = next(states).of_dtype(live.dtype)
    total: Any = 0.0
    for record in progress(trajectory.records[first : max(at)]):
        before, after = after, next(states).of_dtype(live.dtype)
        rates = _rates(places[record.rows], len(rows)).to(like)
        with on_threads(record.n_threads):
            pushed = forth.push(before, record, tangent, rates)
        replay.compare(record, pushed, before, after)
        tangent = pushed.tangent
        if weight := at.get(record.step + 1):
            with on_threads(record.n_threads):
                changes = query.along(forth, after, tangent[PARAMETERS])
            total = total + weight * changes.double()
    replay.comparison.finish()
    check_finite({**tangent, "changes": total})
    found: Tensor = total
    return found


def _rates(places: Tensor, count: int) -> Tensor:
    """Return -1 where a sample of the batch is the one that is left out."""
    mine = (places >= 0).nonzero().flatten()
    rates = torch.zeros(count, len(places))
    rates[places[mine], mine] = -1.0
    return rates
