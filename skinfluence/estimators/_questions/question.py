"""A question about a recorded run, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from ...influence import Query
from ...trajectory import Trajectory
from .._measures import check_query
from .._replica import Replica
from .._validation import validation_data
from .earlier_runs import EarlierRun, earlier_runs
from .epochs import state_weights
from .recorded_run import RecordedRun


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a run, checked.

    Attributes
    ----------
    run : RecordedRun
        The run, from the first step that is asked about.
    at : mapping of int to float
        Number of a state -> its weight in the query.
    query : "loss", "error" or callable
        What is measured on each validation sample.
    dataset : torch.utils.data.Dataset
        The validation data.
    weights : ndarray of shape (n_val,) or None
        Their weights.
    earlier : tuple of EarlierRun
        The runs of the estimators that this one started from, the nearest first, as
        far back as the samples are that are asked about.
    """

    run: RecordedRun
    at: Mapping[int, float]
    query: Any
    dataset: Any
    weights: np.ndarray | None
    earlier: tuple[EarlierRun, ...] = ()

    @property
    def trajectory(self) -> Trajectory:
        """What was recorded."""
        return self.run.trajectory

    @property
    def first(self) -> int:
        """The step before which everything is taken as given."""
        return self.run.first

    def used(self) -> Tensor:
        """Return which samples the steps in question use, (n_samples,) bool."""
        run: Question | EarlierRun = self.earlier[-1] if self.earlier else self
        used = torch.zeros(run.trajectory.n_samples, dtype=torch.bool)
        for record in run.trajectory.records[run.first : max(run.at)]:
            used[record.rows] = True
        return used


def ask(
    net: Any,
    X_val: Any,
    y_val: Any,
    sample_weight_val: Any,
    query: Any,
    at: Any,
    last_epochs: Any,
    stage: Any = None,
) -> Question:
    """Check everything that is asked, before any work."""
    run = RecordedRun.of(net, last_epochs)
    weights = state_weights(run.trajectory, at)
    if max(weights) <= run.first:
        raise ValueError(
            "`at` must name an epoch among those retraced, got only epochs before "
            f"them (`last_epochs`={last_epochs}, `record`={net.record!r})."
        )
    check_query(net, query)
    dataset, weights_val = validation_data(net, X_val, y_val, sample_weight_val)
    run.check(max(weights), run.first)
    earlier = earlier_runs(net, stage, last_epochs)
    return Question(run, weights, query, dataset, weights_val, earlier)


def query_of(
    replica: Replica,
    question: Question,
    kind: type[Query] = Query,
    rows: Sequence[int] | None = None,
) -> Query:
    """Return the query of the validation data, or of some rows of it."""
    some = question.dataset if rows is None else Subset(question.dataset, rows)
    return replica.mean(question.query, some, question.weights, kind)
