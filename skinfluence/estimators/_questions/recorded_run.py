"""What scorers ask of a recorded run: its steps and models, on a copy of the net."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...influence import Query
from ...training import TrainingStep
from ...trajectory import Replay, Trajectory
from .._final_model import mean_loss
from .epochs import first_step


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """The recorded run of one of the estimators, to be walked through.

    Parameters
    ----------
    trajectory : Trajectory
        What was recorded.
    step : TrainingStep
        The run's training step, on a copy of the net.
    first : int
        The earliest step to walk back to.
    net : object
        The copy.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.estimators import recorded_run
    >>> X, y = load_iris(return_X_y=True)
    >>> run = recorded_run(SGDInfluenceClassifier(random_state=0).fit(scale(X), y))
    >>> run.first, run.trajectory.n_steps
    (0, 60)
    """

    trajectory: Trajectory
    step: TrainingStep
    first: int
    net: Any

    def query(self, X_val: Any, y_val: Any, sample_weight_val: Any = None) -> Query:
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


def recorded_run(net: Any, last_epochs: int | None = None) -> RecordedRun:
    """Return the recorded run of a fitted estimator.

    Parameters
    ----------
    net : SGDInfluenceClassifier or SGDInfluenceRegressor
        A fitted estimator that recorded its training.
    last_epochs : int, optional
        Walk back through the last epochs only; by default through all recorded ones.

    Returns
    -------
    RecordedRun
        On a copy: nothing that is done to it changes the estimator.

    Raises
    ------
    ValueError
        The errors of the estimator's ``influence``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.estimators import recorded_run
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(scale(X), y)
    >>> recorded_run(clf, last_epochs=1).first
    57
    """
    trajectory = net._retraceable()
    first = first_step(trajectory, last_epochs)
    net._check_unbroken(trajectory, first, trajectory.n_steps)
    net._check_data_unchanged()
    step, worker = net._training_step(trajectory, trajectory.n_steps, first)
    return RecordedRun(trajectory, step, first, worker)


def epoch_models(estimator: Any) -> Iterator[tuple[int, Any]]:
    """Yield the models that the estimator was at the ends of its recorded epochs.

    Parameters
    ----------
    estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
        A fitted estimator whose run was recorded.

    Yields
    ------
    epoch : int
        Number of the epoch, from 1.
    model : SGDInfluenceClassifier or SGDInfluenceRegressor
        A copy with the parameters and the buffers of the epoch's end. It is the same
        object each time: use it before the next is asked for.

    Raises
    ------
    NotRecordedError
        If nothing was recorded.
    DivergedTrainingError
        If training diverged.
    TrainingDataChangedError, IrreproducibleStepError
        If the training data or the model was changed since, or a state that was not
        kept cannot be computed again.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.estimators import epoch_models
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SGDInfluenceClassifier(max_epochs=3, random_state=0).fit(X, y)
    >>> [(epoch, model.predict(X).shape) for epoch, model in epoch_models(clf)]
    [(1, (150,)), (2, (150,)), (3, (150,))]
    """
    trajectory = estimator._retraceable()
    estimator._check_data_unchanged()
    step, model = estimator._bare_step(trajectory)
    estimator._check_model_unchanged(trajectory, step.live)
    first = trajectory.first_recorded_step
    ends = {e: end for e, end in trajectory.epoch_ends().items() if end > first}
    for epoch, state in zip(
        ends, Replay(trajectory, step).forwards(ends.values()), strict=True
    ):
        step.live.show(state)
        yield epoch, model
