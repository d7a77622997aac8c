"""Data value embeddings: the retrace with the empirical Fisher matrix."""

from operator import itemgetter

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from .._warnings import warn_caller
from ..estimators import RecordedRun, effective_rate
from ..exceptions import DivergedTrainingError, InfluenceReliabilityWarning
from ._base import BaseScorer, ScoringData
from ._checks import check_recorded, check_sgd
from ._gradients import SampleGradients
from ._visits import mean_over_steps, sample_gradients, visits

# Beyond it the products of the steps' factors tell little about the run.
_MOST_GROWTH = 3.0


class DVEmb(BaseScorer, name="dvemb"):
    r"""Score the samples by the products of their embeddings with the query's gradient.

    Named ``"dvemb"``. Data value embedding [1]_ retraces the run as
    :class:`SGDInfluence` does, with the empirical Fisher matrix of each step's batch
    for its Hessian. Summed over the steps t that used the sample,

    .. math:: \text{score}_i =
       \sum_{t: i \in S_t} \frac{c_i}{|S_t|} ⟨v_{t+1}, η_t ∇ℓ_i(θ_t)⟩, \qquad
       v_t = v_{t+1} - (F_t + α) η_t v_{t+1}, \qquad
       F_t = \frac{1}{|S_t|} \sum_{j \in S_t} c_j ∇ℓ_j(θ_t) ∇ℓ_j(θ_t)^\top,

    where :math:`v_T` is the gradient of the mean validation loss at the final model,
    :math:`η_t` the learning rate, with momentum as :math:`η_t / (1 - μ)`, α the
    optimizer's L2 penalty and :math:`c_i` the sample and class weight. The paper forms
    the products of the steps' factors with the samples' gradients, the embeddings, and
    projects them; for one validation loss neither is needed. The score is in the unit
    of the validation loss, negative for harmful samples, and 0 for rows that were not
    trained on.

    No second derivative is taken, so that kinks such as ReLU's do no harm. But where
    single gradients are large for the learning rate, as those of rare values in
    standardized data are, :math:`I - F_t η_t` turns them over and enlarges them. A call
    then warns with an :class:`~skinfluence.exceptions.InfluenceReliabilityWarning`.
    Gradient clipping is not accounted for; dropout and BatchNorm are in evaluation
    mode.

    Parameters
    ----------
    last_epochs : int, optional
        Retrace only the last epochs; by default all recorded epochs.

    See Also
    --------
    TracIn : Without the effect of later steps.

    References
    ----------
    .. [1] J. T. Wang, D. Song, J. Zou, P. Mittal, R. Jia, "Capturing the Temporal
       Dependence of Training Data Influence", ICLR 2025, section 4.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import DVEmb
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> y[7] = (y[7] + 1) % 3
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
    >>> int(DVEmb()(clf, X, y, X_val, y_val).argmin())
    7
    """

    def __init__(self, last_epochs: int | None = None) -> None:
        self.last_epochs = last_epochs

    _estimator_checks = (check_recorded, check_sgd)
    _required_data = ("X_val",)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the summed products with the samples' gradients."""
        run = RecordedRun.of(estimator, self.last_epochs)
        trajectory = run.trajectory
        query = run.query(*data.validation)
        gradients = SampleGradients(run.step.objective, run.step.live.parameters)
        adjoint = query.gradient(run.step, trajectory.state(trajectory.n_steps))
        sizes = [_size(adjoint)]
        scores = torch.zeros(trajectory.n_samples, dtype=torch.float64)
        steps = reversed(trajectory.records[run.first :])
        for record, visit in zip(steps, visits(run, "all"), strict=True):
            moved = mean_over_steps(run, [record], effective_rate) * adjoint
            penalty = mean_over_steps(run, [record], itemgetter("weight_decay"))
            adjoint = adjoint - penalty * moved
            for part, weights, each in sample_gradients(run, gradients, visit):
                pulls = part.shares * weights * (each @ moved)
                scores[part.batch.rows] += pulls.detach().double().cpu()
                adjoint = adjoint - pulls @ each
            sizes.append(_size(adjoint))
        if not adjoint.isfinite().all():
            raise DivergedTrainingError(
                "The retrace overflowed (inf or NaN): the samples' gradients are too "
                "large for the learning rate. Retrace fewer epochs (`last_epochs`), or "
                "train with a smaller learning rate."
            )
        growth = max(sizes) / sizes[0] if sizes[0] else 1.0
        if growth > _MOST_GROWTH:
            warn_caller(
                "The scores may be unreliable: on its way back through this run the "
                f"query's gradient grew {growth:.3g} times (usual is up to "
                f"{_MOST_GROWTH:g}), since single gradients are large for the learning "
                "rate. Use the scorer 'influence' or 'source', scale X, or train with "
                "a smaller learning rate.",
                InfluenceReliabilityWarning,
            )
        return scores.numpy()


def _size(vector: Tensor) -> float:
    return float(vector.double().norm())
