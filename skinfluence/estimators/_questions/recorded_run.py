"""The gate to a recorded run, for every question about it and every repetition."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..._numbers import is_integer, is_real
from ...exceptions import IrreproducibleStepError, NotRecordedError
from ...influence import Query
from ...training import Address, LiveState, TrainingStep
from ...trajectory import Replay, Trajectory
from .._net import InfluenceNet
from .._replica import Replica, mean_loss
from .._trained_on import retraceable
from .._training_data import TrainingData, check_unchanged


@dataclass(frozen=True)
class RecordedRun:
    """The recorded run of an estimator, which can be retraced and repeated.

    Parameters
    ----------
    trajectory : Trajectory
        The record.
    training_data : list of TrainingData
        The training data.
    replicate : callable
        Makes a copy of the estimator, which can be changed.
    first : int
        The earliest step to retrace.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.estimators import RecordedRun
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(scale(X), y)
    >>> run = RecordedRun.of(clf, last_epochs=1)
    >>> run.first, run.trajectory.n_steps
    (57, 60)
    """

    trajectory: Trajectory
    training_data: list[TrainingData]
    replicate: Callable[[], Replica]
    first: int

    @classmethod
    def of(
        cls, estimator: InfluenceNet, last_epochs: int | None = None
    ) -> "RecordedRun":
        """Return the recorded run of a fitted estimator.

        Parameters
        ----------
        estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
            A fitted estimator that recorded its training.
        last_epochs : int, optional
            Retrace the last epochs only; by default all recorded ones.

        Returns
        -------
        RecordedRun
            Whether the run can be repeated is checked when its step is first used.

        Raises
        ------
        ValueError
            The errors of the estimator's ``influence``.
        """
        trajectory = retraceable(estimator)
        first = first_step(trajectory, last_epochs)
        data = estimator.training_data_
        return cls(trajectory, data, lambda: Replica(estimator), first)

    def check(self, stop: int, first: int) -> None:
        """Refuse a part of the run that cannot be retraced, or changed data.

        Parameters
        ----------
        stop, first : int
            The last state of the part, and its first step.
        """
        flaws = self.trajectory.flaws
        broken = [state for state in flaws if first < state <= stop]
        if broken:
            epoch = self.trajectory.records[max(broken) - 1].epoch
            later = self.trajectory.n_epochs - epoch
            hint = f" Epochs after it can be asked for: last_epochs={later}."
            raise IrreproducibleStepError(
                f"The run cannot be retraced through epoch {epoch}: "
                f"{flaws[max(broken)]}." + (hint if later else "")
            )
        check_unchanged(self.training_data)

    def repeatable(self, extra: Sequence[Address] = ()) -> tuple[TrainingStep, Replica]:
        """Return the run's step on a copy of the net.

        Whoever takes the steps again compares them with the record (`Replay`).

        Parameters
        ----------
        extra : sequence of (int, int)
            Parameters that were not trained, to append to the state.

        Returns
        -------
        step : TrainingStep
            The training step.
        replica : Replica
            The copy.
        """
        replica = self.replicate()
        step = replica.step(self.trajectory, extra)
        _check_model_unchanged(self.trajectory, step.live)
        return step, replica

    @cached_property
    def _checked(self) -> tuple[TrainingStep, Replica]:
        self.check(self.trajectory.n_steps, self.first)
        step, replica = self.repeatable()
        Replay(self.trajectory, step).repeat(
            self.trajectory.n_steps, self.first, renewed=True
        )
        return step, replica

    @property
    def step(self) -> TrainingStep:
        """The run's training step, on a copy of the net."""
        return self._checked[0]

    @property
    def net(self) -> Any:
        """The copy."""
        return self._checked[1].net

    def query(
        self,
        X_val: object,
        y_val: ArrayLike | None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Query:
        """Return the mean loss over validation data.

        Parameters
        ----------
        X_val, y_val, sample_weight_val : object
            The data, as for the estimator's ``influence``.

        Returns
        -------
        Query
            On the copy of the net.
        """
        objective = self.step.objective
        return mean_loss(self.net, objective, X_val, y_val, sample_weight_val)

    def epoch_models(self) -> Iterator[tuple[int, Any]]:
        """Yield the model at the end of each recorded epoch.

        Yields
        ------
        epoch : int
            Number of the epoch, from 1.
        model : SGDInfluenceClassifier or SGDInfluenceRegressor
            A copy with the parameters and the buffers of the epoch's end. It is the
            same object each time: use it before the next iteration.

        Raises
        ------
        TrainingDataChangedError, IrreproducibleStepError
            If the training data or the model was changed since, or a state that was
            not kept cannot be recomputed.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skinfluence import SGDInfluenceClassifier
        >>> from skinfluence.estimators import RecordedRun
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = SGDInfluenceClassifier(max_epochs=3, random_state=0).fit(X, y)
        >>> models = RecordedRun.of(clf).epoch_models()
        >>> [(epoch, model.predict(X).shape) for epoch, model in models]
        [(1, (150,)), (2, (150,)), (3, (150,))]
        """
        check_unchanged(self.training_data)
        replica = self.replicate()
        step = replica.step(self.trajectory)
        _check_model_unchanged(self.trajectory, step.live)
        first = self.trajectory.first_recorded_step
        ends = {
            e: end for e, end in self.trajectory.epoch_ends().items() if end > first
        }
        states = Replay(self.trajectory, step).forwards(ends.values())
        for epoch, state in zip(ends, states, strict=True):
            step.live.show(state)
            yield epoch, replica.net


def _check_model_unchanged(trajectory: Trajectory, live: LiveState) -> None:
    noted = trajectory.n_steps in trajectory.flaws
    final = trajectory.state(trajectory.n_steps).parameters
    # The live state may hold further parameters, which were never trained.
    held = live.read().parameters[: len(final)]
    if not noted and not torch.equal(held, final):
        raise IrreproducibleStepError(
            "The model must be as the recorded run left it, but its parameters "
            "were changed since (by set_params, load_params or by hand). Fit again. To "
            "ask about the best epoch, let skorch's Checkpoint or EarlyStopping load "
            "it as training ends (load_best=True), or name it (`at=`)."
        )


def first_step(trajectory: Trajectory, last_epochs: object) -> int:
    """Return the earliest step to retrace."""
    recorded = trajectory.first_recorded_step
    if last_epochs is None:
        return recorded
    if not is_integer(last_epochs):
        raise TypeError(
            f"`last_epochs` must be an integer or None, got {last_epochs!r}."
        )
    ends = trajectory.epoch_ends()
    kept = sum(end > recorded for end in ends.values())
    if not 1 <= int(last_epochs) <= kept:
        raise NotRecordedError(
            f"`last_epochs` must be between 1 and the number of recorded epochs "
            f"({kept}), got {last_epochs}."
        )
    return trajectory.first_step_of_last(int(last_epochs))


def state_weights(trajectory: Trajectory, at: object) -> dict[int, float]:
    """Return the weight in the query by number of the state."""
    ends = trajectory.epoch_ends()
    epochs = _epoch_weights(list(ends), at)
    return {ends[epoch]: weight for epoch, weight in epochs.items() if weight}


def check_at(at: object) -> None:
    """Refuse what names no epochs, or gives them no weights, in any run."""
    if isinstance(at, str):
        if at not in _NAMED:
            raise ValueError(
                "`at` must be 'final', 'epochs', 'path', a sequence of epoch numbers "
                f"or a mapping of epoch number to weight, got {at!r}."
            )
        return
    pairs = _pairs(at)
    for epoch, weight in pairs:
        if not is_integer(epoch):
            raise ValueError(f"`at` must name epochs of the run, got {epoch!r}.")
        if not is_real(weight) or not 0 <= weight < np.inf:
            raise ValueError(
                f"`at` must give finite weights that are not negative, got {weight!r} "
                f"for epoch {epoch}."
            )
    epochs = [epoch for epoch, _ in pairs]
    if len({*epochs}) != len(epochs):
        raise ValueError(f"`at` must name each epoch once, got {epochs}.")
    if not sum(weight for _, weight in pairs) > 0:
        raise ValueError(f"`at` must give some epoch a positive weight, got {at!r}.")


def _pairs(at: object) -> list[tuple[Any, Any]]:
    """Return epochs and weights as they are given."""
    if isinstance(at, Mapping):
        return list(at.items())
    if isinstance(at, Sequence) or (isinstance(at, np.ndarray) and at.ndim):
        return [(epoch, 1.0) for epoch in at]
    raise TypeError(f"`at` must be a string, a sequence or a mapping, got {at!r}.")


def _epoch_weights(epochs: Sequence[int], at: object) -> dict[int, float]:
    check_at(at)
    pairs = _NAMED[at](epochs) if isinstance(at, str) else _pairs(at)
    for epoch, _ in pairs:
        if epoch not in epochs:
            raise ValueError(
                f"`at` must name epochs of the run, {epochs[0]} to {epochs[-1]}, got "
                f"{epoch!r}."
            )
    total = sum(float(weight) for _, weight in pairs)
    return {int(epoch): float(weight) / total for epoch, weight in pairs}


# Epochs and their weights, by name.
_NAMED: dict[str, Callable[[Sequence[int]], list[tuple[Any, Any]]]] = {
    "final": lambda epochs: [(epochs[-1], 1.0)],
    "epochs": lambda epochs: [(epoch, 1.0) for epoch in epochs],
    "path": lambda epochs: [(epoch, 1.0 / epoch) for epoch in epochs],
}
