"""Products of gradients along the recorded run."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..estimators import recorded_run
from ._checks import OfRecordedRun, check_choice
from ._gradients import SampleGradients, weights_of
from ._visits import STEPS, visits


class _AlongRun(OfRecordedRun):
    """Sums over the visits of the recorded run."""

    def __init__(self, steps: str = "epochs", last_epochs: int | None = None) -> None:
        self.steps = steps
        self.last_epochs = last_epochs

    def _check_parameters(self) -> None:
        check_choice("steps", self.steps, STEPS)


class TracIn(_AlongRun):
    r"""Score the samples by how much their own steps lowered the validation loss.

    The name ``"tracin"`` stands for it. Summed over the steps t that used the sample,

    .. math:: \text{score}_i =
       \sum_{t: i \in S_t} \frac{η_t c_i}{|S_t|} ⟨∇Q(θ), ∇ℓ_i(θ)⟩,

    with Q the mean validation loss, the learning rate :math:`η_t` and the sample and
    class weight :math:`c_i`: the idealized TracIn of [1]_, section 3.1, divided over
    batches, with θ the state that the step began from (``steps="all"``), or TracInCP,
    section 3.2, with θ the state at the epoch's end. Unit: the validation loss's.
    Negative: the sample is harmful. It is :class:`SGDInfluence` without what the later
    steps make of a change, and without momentum and adaptive scaling. Dropout and
    BatchNorm are in evaluation mode.

    Parameters
    ----------
    steps : {"epochs", "all"}, default="epochs"
        Whether gradients are taken at the end of each epoch, for all of its steps and
        at their mean learning rate, or at every step.
    last_epochs : int, optional
        Sum over the last epochs only; by default over all that was recorded.

    References
    ----------
    .. [1] G. Pruthi, F. Liu, S. Kale, M. Sundararajan, "Estimating Training Data
       Influence by Tracing Gradient Descent", NeurIPS 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import TracIn
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> clf = SGDInfluenceClassifier(max_epochs=5, random_state=0).fit(X, y)
    >>> TracIn(steps="all")(clf, X, y, X_val, y_val).shape
    (112,)
    """

    _name = "tracin"

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        X_val: Any,
        y_val: Any,
        *,
        sample_weight_val: Any = None,
    ) -> np.ndarray:
        """Return the sums of the samples' gradient products with the validation loss.

        Parameters
        ----------
        estimator : object
            A recorded estimator, fitted on X and y.
        X, y : array-like of n_samples rows
            What it was fitted on; not looked at, the estimator knows them.
        X_val, y_val : array-like of n_val rows
            Validation data.
        sample_weight_val : array-like of shape (n_val,), optional
            Weights of the validation samples.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            In the loss's unit; 0 for rows that were not trained on.
        """
        self.check_estimator(estimator)
        run = recorded_run(estimator, self.last_epochs)
        query = run.query(X_val, y_val, sample_weight_val)
        gradients = SampleGradients(run.step.objective, run.step.live.parameters)
        scores = torch.zeros(run.trajectory.n_samples, dtype=torch.float64)
        for visit in visits(run, self.steps):
            direction = visit.rates * query.gradient(run.step, visit.state)
            batch = run.step.objective.fetch(visit.record.data, visit.record.rows)
            dots = gradients.dots(batch, direction)
            steps = visit.shares * weights_of(batch, dots) * dots
            scores[visit.record.rows] += _double(steps)
        return scores.numpy()


class SelfInfluence(_AlongRun):
    r"""Score the samples by how much they taught the model about themselves.

    The name ``"self_influence"`` stands for it. A sample that only its own gradient
    explains, such as one with a wrong label, has a large self-influence (section 4.1
    of [1]_) and is removed first:

    .. math:: \text{score}_i = -
       \sum_{t: i \in S_t} \frac{η_t c_i}{|S_t|} \|∇ℓ_i(θ)\|^2,

    as in :class:`TracIn`. Unit: the loss's. The validation data is not used.

    Parameters
    ----------
    steps : {"epochs", "all"}, default="epochs"
        Whether gradients are taken at the end of each epoch, for all of its steps and
        at their mean learning rate, or at every step.
    last_epochs : int, optional
        Sum over the last epochs only; by default over all that was recorded.

    References
    ----------
    .. [1] G. Pruthi, F. Liu, S. Kale, M. Sundararajan, "Estimating Training Data
       Influence by Tracing Gradient Descent", NeurIPS 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import SelfInfluence
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(scale(X), y)
    >>> 7 in SelfInfluence()(clf, X, y).argsort()[:5]
    True
    """

    _name = "self_influence"

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        X_val: Any = None,
        y_val: Any = None,
        *,
        sample_weight_val: Any = None,
    ) -> np.ndarray:
        """Return minus the samples' influence on their own losses.

        Parameters
        ----------
        estimator : object
            A recorded estimator, fitted on X and y.
        X, y : array-like of n_samples rows
            What it was fitted on; not looked at, the estimator knows them.
        X_val, y_val, sample_weight_val : object
            Not used.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            In the loss's unit, never positive; 0 for rows that were not trained on.
        """
        self.check_estimator(estimator)
        run = recorded_run(estimator, self.last_epochs)
        gradients = SampleGradients(run.step.objective, run.step.live.parameters)
        scores = torch.zeros(run.trajectory.n_samples, dtype=torch.float64)
        for visit in visits(run, self.steps):
            run.step.live.show(visit.state)
            run.step.objective.train(False)
            rows = visit.record.rows.split(gradients.at_once)
            shares = visit.shares.split(gradients.at_once)
            for some, share in zip(rows, shares, strict=True):
                batch = run.step.objective.fetch(visit.record.data, some)
                each = gradients.each(batch)
                own = each.square() @ visit.rates * weights_of(batch, each)
                scores[some] -= _double(share * own)
        return scores.numpy()


def _double(values: Tensor) -> Tensor:
    return values.detach().double().cpu()
