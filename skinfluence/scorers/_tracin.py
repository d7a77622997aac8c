"""Products of gradients along the recorded run."""

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from ..estimators import RecordedRun
from ._base import BaseScorer, ScoringData
from ._checks import check_choice, check_recorded
from ._gradients import SampleGradients, weights_of
from ._visits import STEPS, sample_gradients, visits


class _AlongRun(BaseScorer):
    """Scores that are sums over the visits of the recorded run."""

    _estimator_checks = (check_recorded,)

    def __init__(self, steps: str = "epochs", last_epochs: int | None = None) -> None:
        self.steps = steps
        self.last_epochs = last_epochs

    def _check_parameters(self) -> None:
        check_choice("steps", self.steps, STEPS)


class TracIn(_AlongRun, name="tracin"):
    r"""Score the samples by how much their steps changed the validation loss.

    Named ``"tracin"``. Summed over the steps t that used the sample,

    .. math:: \text{score}_i =
       \sum_{t: i \in S_t} \frac{η_t c_i}{|S_t|} ⟨∇Q(θ), ∇ℓ_i(θ)⟩,

    with Q the mean validation loss, :math:`η_t` the learning rate and :math:`c_i` the
    sample and class weight. With ``steps="all"`` θ is the state before the step: the
    idealized TracIn of section 3.1 in [1]_, for batches. With ``steps="epochs"`` it is
    the state at the end of the epoch: TracInCP, section 3.2. The score is in the unit
    of the validation loss, negative for harmful samples, and 0 for rows that were not
    trained on. It is :class:`SGDInfluence` without the effect of later steps on a
    change, and without momentum and adaptive scaling. Dropout and BatchNorm are in
    evaluation mode.

    Parameters
    ----------
    steps : {"epochs", "all"}, default="epochs"
        Whether gradients are taken once at the end of each epoch, with the mean
        learning rate of its steps, or at every step.
    last_epochs : int, optional
        Sum over the last epochs only; by default over all recorded epochs.

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

    _required_data = ("X_val",)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the summed gradient products with the validation loss."""
        run = RecordedRun.of(estimator, self.last_epochs)
        query = run.query(*data.validation)
        gradients = SampleGradients(run.step.objective, run.step.live.parameters)
        scores = torch.zeros(run.trajectory.n_samples, dtype=torch.float64)
        for visit in visits(run, self.steps):
            # Learning rates differ between parameters, so they precede the dot product.
            direction = visit.rates * query.gradient(run.step, visit.state)
            batch = run.step.objective.fetch(visit.batch)
            dots = gradients.dots(batch, direction)
            steps = visit.shares * weights_of(batch, dots) * dots
            scores[visit.batch.rows] += _double(steps)
        return scores.numpy()


class SelfInfluence(_AlongRun, name="self_influence"):
    r"""Score the samples by their influence on their own loss, largest first.

    Named ``"self_influence"``. A sample that the model can only fit by its own
    gradient, such as one with a wrong label, has a large self-influence (section 4.1 of
    [1]_):

    .. math:: \text{score}_i = -
       \sum_{t: i \in S_t} \frac{η_t c_i}{|S_t|} \|∇ℓ_i(θ)\|^2,

    as in :class:`TracIn`. The score is in the unit of the loss, never positive, and 0
    for rows that were not trained on. The validation data is not used.

    Parameters
    ----------
    steps : {"epochs", "all"}, default="epochs"
        Whether gradients are taken once at the end of each epoch, with the mean
        learning rate of its steps, or at every step.
    last_epochs : int, optional
        Sum over the last epochs only; by default over all recorded epochs.

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

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return minus the samples' influence on their own losses."""
        run = RecordedRun.of(estimator, self.last_epochs)
        gradients = SampleGradients(run.step.objective, run.step.live.parameters)
        scores = torch.zeros(run.trajectory.n_samples, dtype=torch.float64)
        for visit in visits(run, self.steps):
            for part, weights, each in sample_gradients(run, gradients, visit):
                squares = each.square() @ part.rates * weights
                scores[part.batch.rows] -= _double(part.shares * squares)
        return scores.numpy()


def _double(values: Tensor) -> Tensor:
    return values.detach().double().cpu()
