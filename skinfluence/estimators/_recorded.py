"""The models that a recorded run passed through."""

from collections.abc import Iterator
from typing import Any

from ..trajectory import Replay


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
