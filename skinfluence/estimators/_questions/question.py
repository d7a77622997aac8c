"""A question about a recorded run and those before it, checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import joblib
import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..._numbers import is_integer
from ...exceptions import NotRecordedError
from ...influence import Query, SampleQueries
from ...trajectory import Trajectory
from .._measures import check_query, metric_of, queried_data
from .._net import InfluenceNet
from .._replica import Replica
from .._training_data import fingerprint
from .._typing import At, MapDataset, QueryLike
from .recorded_run import RecordedRun, state_weights

NEAREST = "pretraining"


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """The run of an estimator that another one started from.

    Attributes
    ----------
    net : InfluenceNet
        The estimator.
    run : RecordedRun
        Its run.
    at : mapping of int to float
        Its final state, from which the other run started.
    """

    net: InfluenceNet
    run: RecordedRun
    at: Mapping[int, float]

    @property
    def trajectory(self) -> Trajectory:
        """What was recorded."""
        return self.run.trajectory

    @property
    def first(self) -> int:
        """The step before which everything is taken as given."""
        return self.run.first


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a run, checked.

    Attributes
    ----------
    run : RecordedRun
        The run, from the first step that is asked about.
    at : mapping of int to float
        Weight in the query by number of the state.
    query : a named query or callable
        The measure on each validation sample.
    dataset : torch.utils.data.Dataset
        The validation data.
    weights : ndarray of shape (n_val,) or None
        Their weights.
    earlier : tuple of EarlierRun
        The runs of the estimators that this one started from, the nearest first, back
        to the one whose samples are in question.
    """

    run: RecordedRun
    at: Mapping[int, float]
    query: QueryLike
    dataset: MapDataset
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

    def owner(self, net: InfluenceNet) -> InfluenceNet:
        """Return the estimator whose samples a question to `net` is about."""
        return self.earlier[-1].net if self.earlier else net

    def used(self) -> Tensor:
        """Return which samples the steps in question use, (n_samples,) bool."""
        run: Question | EarlierRun = self.earlier[-1] if self.earlier else self
        used = torch.zeros(run.trajectory.n_samples, dtype=torch.bool)
        for record in run.trajectory.records[run.first : max(run.at)]:
            used[record.rows] = True
        return used


def ask(
    net: InfluenceNet,
    X_val: object,
    y_val: ArrayLike | None,
    sample_weight_val: ArrayLike | None,
    query: QueryLike,
    at: At,
    last_epochs: int | None,
    stage: str | int | None = None,
    *,
    derivative: bool = True,
) -> Question:
    """Check a question before any work.

    `derivative` tells whether the run is to be differentiated, or only repeated.
    """
    run = RecordedRun.of(net, last_epochs)
    weights = state_weights(run.trajectory, at)
    if max(weights) <= run.first:
        raise ValueError(
            "`at` must name an epoch among those retraced, got only epochs before "
            f"them (`last_epochs`={last_epochs}, `record`={net.record!r})."
        )
    check_query(net, query, derivative=derivative)
    dataset, weights_val = queried_data(net, X_val, y_val, sample_weight_val, query)
    run.check(max(weights), run.first)
    earlier = earlier_runs(net, stage, last_epochs)
    if derivative:
        for each in (net, *(part.net for part in earlier)):
            _check_retraceable(each)
    return Question(run, weights, query, dataset, weights_val, earlier)


def _check_retraceable(net: InfluenceNet) -> None:
    if not net.retraceable_:
        raise NotRecordedError(
            "`record` must be 'all' or a number of epochs in fit for an estimate, got "
            "'replay': the run can only be repeated. Use counterfactual_influence or "
            "refit_without, or fit again with record='all' if the module can be "
            "differentiated twice."
        )


def stages_back(net: InfluenceNet, stage: str | int | None) -> int:
    """Return how many stages back `stage` is."""
    if stage is None:
        return 0
    chain = [net]
    # What was set after fit is no part of what was trained.
    while hasattr(chain[-1], "pretrained_parameters_"):
        chain.append(chain[-1].pretrained)
    last = len(chain) - 1
    if last == 0:
        raise ValueError(
            "`stage` must be None for an estimator that did not start from another "
            f"one, got {stage!r}. Fit it with `pretrained`."
        )
    number = 1 if isinstance(stage, str) and stage == NEAREST else stage
    if not is_integer(number) or not 1 <= number <= last:
        raise ValueError(
            f"`stage` must be None, {NEAREST!r}, or how many stages back, 1 to {last} "
            f"for this estimator, got {stage!r}."
        )
    return int(number)


def earlier_runs(
    net: InfluenceNet, stage: str | int | None, last_epochs: int | None
) -> tuple[EarlierRun, ...]:
    """Return the runs back to a stage, the nearest first, checked."""
    number = stages_back(net, stage)
    if number and last_epochs is not None:
        raise ValueError(
            "`last_epochs` must be None with `stage`, for the way to earlier stages "
            f"leads through the whole run, got {last_epochs!r}."
        )
    runs = []
    for k in range(number):
        assert net.trajectory_ is not None
        _check_whole(net.trajectory_, k)
        net = net.pretrained
        run = RecordedRun.of(net)
        n_steps = run.trajectory.n_steps
        run.check(n_steps, run.first)
        runs.append(EarlierRun(net, run, {n_steps: 1.0}))
    return tuple(runs)


def _check_whole(trajectory: Trajectory, back: int) -> None:
    """Refuse to retrace a run whose beginning was not recorded."""
    if trajectory.first_recorded_step:
        which = f"The estimator {back} stages back" if back else "The estimator"
        raise NotRecordedError(
            f"{which} must have recorded its whole run, for the way to earlier stages "
            f"leads through all of it, but {trajectory.first_recorded_step} steps at "
            "its beginning are missing. Fit it with record='all'."
        )


def kind_by_sample(net: InfluenceNet, question: Question) -> type[Query]:
    """Return the kind of query of the single validation samples, where it has them."""
    return SampleQueries if metric_of(net, question.query) is None else Query


def query_of(
    replica: Replica,
    question: Question,
    kind: Callable[..., Query] = Query,
) -> Query:
    """Return the query of the validation data."""
    return replica.mean(question.query, question.dataset, question.weights, kind)


def check_same_question(net: InfluenceNet, question: Question, *more: object) -> None:
    """Refuse to answer together what several processes do not ask alike."""
    if net._ranks.number == 1:
        return
    own = (
        fingerprint(question.dataset, None),
        joblib.hash((question.weights, sorted(question.at.items()), question.first)),
        joblib.hash(more),
        getattr(question.query, "__qualname__", str(question.query)),
    )
    if not net._ranks.agree(own):
        raise ValueError(
            f"All {net._ranks.number} processes must ask the same question of "
            "`across_ranks()`, but theirs differ in the validation data, a parameter, "
            "or what was drawn. Give all of them the same, and an integer as "
            "`random_state`."
        )
