"""The points of a recorded run at which the samples' gradients are evaluated."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter

import torch
from torch import Tensor

from .._progress import tracked
from ..estimators import RecordedRun
from ..training import Hyperparameters, MicroBatch, State
from ..trajectory import Replay, StepRecord
from ._gradients import SampleGradients, weights_of

STEPS = ("epochs", "all")


@dataclass(frozen=True, slots=True)
class Visit:
    """Samples that were trained on, and the state at which they are evaluated.

    Attributes
    ----------
    state : State
        The parameters and buffers.
    batch : MicroBatch
        The samples, as a step loads them.
    rates : Tensor of shape (p,)
        The learning rate of each parameter; 0 where the step did not train it.
    shares : Tensor of shape (n_rows,)
        The samples' shares of the batches: 1/|S_t|, summed over the steps that this
        visit covers.
    """

    state: State
    batch: MicroBatch
    rates: Tensor
    shares: Tensor


def visits(
    run: RecordedRun, steps: str, n_epochs: int | None = None
) -> Iterator[Visit]:
    """Yield the visits of a run, last first.

    With "all" each step's batch at the state before the step; with "epochs" the epoch's
    samples at the state at its end. With `n_epochs` those of the first epochs only.
    """
    trajectory = run.trajectory
    stop = list(trajectory.epoch_ends().values())[:n_epochs][-1]
    epochs = defaultdict(list)
    for record in trajectory.records[run.first : stop]:
        epochs[record.epoch].append(record)
    ends = {records[-1].step: records for records in epochs.values()}
    progress = partial(tracked, words="Recorded steps", unit="step")
    walk = Replay(trajectory, run.step).backwards(stop, run.first, progress)
    for record, before, after in walk:
        if steps == "all":
            yield visit_of(run, before, [record])
        elif record.step in ends:
            yield visit_of(run, after, ends[record.step])


def sample_gradients(
    run: RecordedRun, gradients: SampleGradients, visit: Visit
) -> Iterator[tuple[Visit, Tensor, Tensor]]:
    """Yield parts of a visit with their samples' c_i, (b,), and gradients, (b, p)."""
    run.step.live.show(visit.state)
    run.step.objective.train(False)
    # The gradients of a whole epoch may not fit in memory.
    rows = visit.batch.rows.split(gradients.at_once)
    shares = visit.shares.split(gradients.at_once)
    for part, share in zip(rows, shares, strict=True):
        few = replace(visit, batch=replace(visit.batch, rows=part), shares=share)
        batch = run.step.objective.fetch(few.batch)
        each = gradients.each(batch)
        yield few, weights_of(batch, each), each


def visit_of(run: RecordedRun, state: State, records: Sequence[StepRecord]) -> Visit:
    """Return the visit that covers some steps."""
    used = torch.cat([record.rows for record in records])
    rows, places = used.unique(return_inverse=True)
    rates = mean_over_steps(run, records, itemgetter("lr"))
    parts = [
        rates.new_full((len(batch.rows),), batch.share / len(batch.rows))
        for record in records
        for batch in record.micro_batches()
    ]
    # A row may be in several batches of an epoch: its shares add up.
    shares = rates.new_zeros(len(rows))
    shares.index_add_(0, places.to(rates.device), torch.cat(parts))
    last = records[-1]
    return Visit(
        state, MicroBatch(last.data, rows, item_seed=last.item_seed), rates, shares
    )


def mean_over_steps(
    run: RecordedRun,
    records: Sequence[StepRecord],
    value: Callable[[Hyperparameters], float],
) -> Tensor:
    """Return the mean over some steps of a value of each parameter's group, (p,).

    It is 0 in the steps that did not train the parameter.
    """
    each = [_by_parameter(run, record, value) for record in records]
    return torch.stack(each).mean(0)


def _by_parameter(
    run: RecordedRun, record: StepRecord, value: Callable[[Hyperparameters], float]
) -> Tensor:
    live = run.step.live
    return live.layout.flatten(
        [
            torch.full_like(
                parameter,
                value(record.hyperparameters[group]) if k in record.active else 0.0,
                requires_grad=False,
            )
            for k, (parameter, (group, _)) in enumerate(
                zip(live.parameters, live.addresses, strict=True)
            )
        ]
    )
