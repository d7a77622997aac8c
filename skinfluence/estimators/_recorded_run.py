"""What scorers ask of a recorded run: its steps, on a copy of the net."""

from dataclasses import dataclass
from typing import Any

from ..influence import Query
from ..training import TrainingStep
from ..trajectory import Trajectory
from ._epochs import first_step
from ._final_model import mean_loss


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """The recorded run of one of the estimators, to be walked through.

    Attributes
    ----------
    trajectory : Trajectory
        What was recorded.
    step : TrainingStep
        The run's training step, on a copy of the net.
    first : int
        The earliest step to walk back to.
    net : object
        The copy.
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
    """
    trajectory = net._retraceable()
    first = first_step(trajectory, last_epochs)
    net._check_unbroken(trajectory, first, trajectory.n_steps)
    net._check_data_unchanged()
    step, worker = net._training_step(trajectory, trajectory.n_steps, first)
    return RecordedRun(trajectory, step, first, worker)
