"""A recorded run that can be repeated: its steps and queries, on a copy of the net."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from skorch.net import NeuralNet
from torch import Tensor
from torch.utils.data import Dataset, Subset

from ...exceptions import (
    DivergedTrainingError,
    IrreproducibleStepError,
    NotRecordedError,
    TrainingDataChangedError,
)
from ...influence import Query
from ...training import (
    Address,
    Batch,
    CompiledStep,
    LiveState,
    Objective,
    TrainingStep,
    moment_names,
)
from ...trajectory import Replay, StepRecord, Trajectory
from .._data import fingerprint
from .._measures import check_query, measure_of
from .._recording.observations import net_buffers, net_modules
from .._validation import check_data, check_weights, explained
from .earlier_runs import EarlierRun, earlier_runs
from .epochs import first_step, state_weights


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a run, checked.

    Attributes
    ----------
    trajectory : Trajectory
        The run.
    at : mapping of int to float
        Number of a state -> its weight in the query.
    first : int
        The step before which everything is taken as given.
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

    trajectory: Trajectory
    at: Mapping[int, float]
    first: int
    query: Any
    dataset: Any
    weights: np.ndarray | None
    earlier: tuple[EarlierRun, ...] = ()

    def used(self) -> Tensor:
        """Return which samples the steps in question use, (n_samples,) bool."""
        run: Question | EarlierRun = self.earlier[-1] if self.earlier else self
        used = torch.zeros(run.trajectory.n_samples, dtype=torch.bool)
        for record in run.trajectory.records[run.first : max(run.at)]:
            used[record.rows] = True
        return used


class RepeatingMixin(NeuralNet):
    """What retracing a recorded run and repeating it have in common."""

    def _retraceable(self) -> Trajectory:
        """Return the trajectory, or say why there is none."""
        check_is_fitted(self, "trajectory_")
        trajectory: Trajectory | None = self.trajectory_
        if trajectory is None:
            raise NotRecordedError(
                f"`record` must be 'all' or a number of epochs in fit, got "
                f"{self.record!r}: nothing was recorded. Fit again with record='all'."
            )
        if trajectory.n_steps == 0:
            raise NotRecordedError("The run must have at least one step, got 0.")
        if trajectory.diverged_at is not None:
            raise DivergedTrainingError(
                "The training run must stay finite, but the loss or a parameter was "
                f"NaN or infinite from step {trajectory.diverged_at} on. Lower `lr`, "
                "scale X and y, or clip the gradients."
            )
        return trajectory

    def _check_data_unchanged(self) -> None:
        for data in self.training_data_:
            if fingerprint(data.X, data.y) != data.digest:
                raise TrainingDataChangedError(
                    "The training data must be as it was in fit, but its fingerprint "
                    "differs: X or y was changed in place. Fit again, or give fit a "
                    "copy."
                )

    @staticmethod
    def _check_model_unchanged(trajectory: Trajectory, live: LiveState) -> None:
        noted = trajectory.n_steps in trajectory.flaws
        final = trajectory.state(trajectory.n_steps).parameters
        # The live state may hold further parameters, which were never trained.
        held = live.read().parameters[: len(final)]
        if not noted and not torch.equal(held, final):
            raise IrreproducibleStepError(
                "The model must be as the recorded run left it, but its parameters "
                "were changed since (by set_params, load_params or by hand). Fit again."
            )

    @staticmethod
    def _check_unbroken(trajectory: Trajectory, first: int, stop: int) -> None:
        broken = [state for state in trajectory.flaws if first < state <= stop]
        if broken:
            epoch = trajectory.records[max(broken) - 1].epoch
            later = trajectory.n_epochs - epoch
            hint = f" Epochs after it can be asked for: last_epochs={later}."
            raise IrreproducibleStepError(
                f"The run cannot be retraced through epoch {epoch}: "
                f"{trajectory.flaws[max(broken)]}." + (hint if later else "")
            )

    def _question(
        self,
        X_val: Any,
        y_val: Any,
        sample_weight_val: Any,
        query: Any,
        at: Any,
        last_epochs: Any,
        stage: Any = None,
    ) -> Question:
        """Check everything that is asked, before any work."""
        trajectory = self._retraceable()
        weights = state_weights(trajectory, at)
        first = first_step(trajectory, last_epochs)
        if max(weights) <= first:
            raise ValueError(
                "`at` must name an epoch among those retraced, got only epochs before "
                f"them (`last_epochs`={last_epochs}, `record`={self.record!r})."
            )
        check_query(self, query)
        dataset, weights_val = self._validation_data(X_val, y_val, sample_weight_val)
        self._check_unbroken(trajectory, first, max(weights))
        self._check_data_unchanged()
        earlier = earlier_runs(self, stage, last_epochs)
        return Question(
            trajectory, weights, first, query, dataset, weights_val, earlier
        )

    def _validation_data(
        self, X_val: Any, y_val: Any, sample_weight_val: Any
    ) -> tuple[Any, np.ndarray | None]:
        if y_val is None and not isinstance(X_val, Dataset):
            raise ValueError("`y_val` must be given with X_val, got None.")
        with explained("`X_val` and `y_val` must be as X and y in fit"):
            X, y = check_data(self, X_val, y_val, reset=False)
        y = self._encode_targets(y, reset=False, name="y_val")
        with explained("`sample_weight_val` must weigh the rows of X_val"):
            weights = check_weights(X, sample_weight_val)
        return self.get_dataset(X, y), weights

    def _training_step(
        self,
        trajectory: Trajectory,
        stop: int,
        first: int = 0,
        given: Sequence[Address] = (),
    ) -> tuple[TrainingStep, Any]:
        """Return the run's training step, and the copy of the net that it may change.

        That the steps repeat is tried first. The step's state goes on, after the
        parameters that were trained, with those that were `given` and stayed.
        """
        step, worker = self._bare_step(trajectory, given)
        self._check_model_unchanged(trajectory, step.live)
        first = max(first, trajectory.first_recorded_step)
        # Parameters may have been set between two calls of fit: one step of each call.
        calls = {record.data: record for record in trajectory.records[first:stop]}
        for record in calls.values():
            _check_repeats(trajectory, step, record)
        return step, worker

    def _bare_step(
        self, trajectory: Trajectory, given: Sequence[Address] = ()
    ) -> tuple[TrainingStep, Any]:
        """Return the training step and the copy of the net, with nothing checked."""
        objective, worker = self._copied()
        groups = worker.optimizer_.param_groups
        stayed = [groups[g]["params"][k].detach().clone() for g, k in given]
        live = LiveState(
            worker.optimizer_,
            [*trajectory.addresses, *given],
            net_buffers(worker),
            moment_names(worker.optimizer_),
            [*trajectory.untrained, *stayed],
        )
        if given:
            # States with and without what stayed are not compiled for at once.
            return TrainingStep(objective, live), worker
        return self._step(trajectory, objective, live), worker

    def _copied(self) -> tuple[Objective, Any]:
        """Return the training objective, and the copy of the net that it is on."""
        names = self._modules + self._criteria + self._optimizers
        # One deep copy for all, so that the optimizer's parameters are the modules'.
        parts = copy.deepcopy({f"{name}_": getattr(self, f"{name}_") for name in names})
        worker = object.__new__(type(self))
        worker._keywords = self._keywords
        worker.__dict__.update(self.__dict__, **parts)
        objective = Objective(
            net_modules(worker), worker._outputs, worker._step_losses, worker._fetch()
        )
        return objective, worker

    def _step(
        self, trajectory: Trajectory, objective: Objective, live: LiveState
    ) -> TrainingStep:
        if not self.compile:
            return TrainingStep(objective, live)
        largest = max(len(record.rows) for record in trajectory.records)
        return CompiledStep(objective, live, largest, self._compiled_functions())

    def _fetch(self) -> Callable[[int, Tensor], Batch]:
        """Return what fetches rows of the data set with a number."""
        fetchers = [self._fetcher(data.dataset) for data in self.training_data_]

        def fetch(number: int, rows: Tensor) -> Batch:
            data = self.training_data_[number]
            rows = rows - data.offset if data.offset else rows
            x, y = fetchers[number](rows)
            weights = None if data.weights is None else data.weights[rows]
            return (x, data.fit_params), y, weights

        return fetch

    def _query(
        self,
        step: TrainingStep,
        asked: Question,
        kind: type[Query] = Query,
        rows: Sequence[int] | None = None,
    ) -> Query:
        """Return the query of the validation data, or of some rows of it."""
        some = asked.dataset if rows is None else Subset(asked.dataset, rows)
        return self._mean(step.objective, asked.query, some, asked.weights, kind)

    def _mean(
        self,
        objective: Objective,
        query: Any,
        dataset: Any,
        weights: np.ndarray | None,
        kind: type[Query] = Query,
    ) -> Query:
        """Return the mean of a measure over a dataset, weighted."""
        every = np.ones(len(dataset)) if weights is None else weights
        every = every / every.sum()
        batches: list[tuple[Any, Any, Tensor]] = []
        start = 0
        for inputs, targets in self.get_iterator(dataset, training=False):
            part = torch.as_tensor(every[start : start + len(targets)])
            part = part.to(self.device, self.dtype_)
            batches.append(((inputs, {}), targets, part))
            start += len(targets)
        return kind(objective, measure_of(self, query), batches)


def _check_repeats(
    trajectory: Trajectory, step: TrainingStep, record: StepRecord
) -> None:
    """Repeat one recorded step: what it leads to must be what was recorded."""
    replay = Replay(trajectory, step)
    before = replay.state(record.step)
    recorded = replay.state(record.step + 1).parameters
    again = step.forward(before, record).parameters
    # Parameters may be trained from this step on; in states that were computed again
    # stand those too that never are.
    known = min(len(before.parameters), len(recorded))
    again, recorded = again[:known], recorded[:known]
    scale = (recorded - before.parameters[:known]).abs().max()
    # Far above rounding, also where sums are taken in another order (CUDA); far below
    # what another loss, batch or update would change.
    if not (again - recorded).abs().max() <= 1e-3 * scale + 1e-6 * recorded.abs().max():
        raise IrreproducibleStepError(
            f"Repeating step {record.step} from its record does not lead to the "
            "recorded model. The net's loss, its data or its train_step depends on "
            "something that is not recorded."
        )
