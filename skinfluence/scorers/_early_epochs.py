"""Errors and gradients early in training as scorers."""

import numpy as np
import torch
from sklearn.base import BaseEstimator

from .._numbers import check_integer, is_integer
from ..estimators import RecordedRun
from ..exceptions import NotRecordedError
from ._base import BaseScorer, ScoringData
from ._checks import check_class_probabilities, check_classifier, check_recorded
from ._gradients import SampleGradients
from ._sample_measures import mean_over_epochs, probability_errors
from ._visits import sample_gradients, visits


class _EarlyEpochs(BaseScorer):
    """Scores that are means over the first epochs of the recorded run."""

    def __init__(self, n_epochs: int = 10) -> None:
        self.n_epochs = n_epochs

    def _check_parameters(self) -> None:
        check_integer("n_epochs", self.n_epochs, 1)

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        record = getattr(estimator, "record", "all")
        if is_integer(record) and record < estimator.max_epochs:
            raise self._late(f"record={record}")

    def _run(self, estimator: BaseEstimator) -> RecordedRun:
        run = RecordedRun.of(estimator)
        # A record of the last epochs loses the first ones in partial_fit.
        if run.first > 0:
            raise self._late(f"a run recorded from step {run.first + 1}")
        return run

    def _late(self, got: str) -> NotRecordedError:
        return NotRecordedError(
            "`record` of the estimator must hold the first epochs for the scorer "
            f"{self._name!r}, got {got}. Use record='all'."
        )


class EL2N(_EarlyEpochs, name="el2n"):
    r"""Score the samples by the error of their probabilities early in training.

    Named ``"el2n"``. The score is minus the mean, over the models :math:`p^{(t)}` at
    the ends of the first epochs, of the L2 norm of the error [1]_, in evaluation mode:

    .. math:: \text{score}_i = - \frac{1}{T} \sum_{t=1}^T
       \| p^{(t)}(x_i) - \text{onehot}(y_i) \|_2.

    It lies between :math:`-\sqrt 2` and 0. The paper takes one epoch early in training
    and the mean over several runs, this class the mean over the first epochs of one
    run. The validation data is not used.

    Parameters
    ----------
    n_epochs : int, default=10
        T, the number of first epochs; all, if the run has fewer.

    See Also
    --------
    GraNd : The norm of the gradient, which this approximates.
    MeanLoss : The loss, over all epochs.

    References
    ----------
    .. [1] M. Paul, S. Ganguli, G. K. Dziugaite, "Deep Learning on a Data Diet: Finding
       Important Examples Early in Training", NeurIPS 2021, definition 2.3.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import EL2N
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(scale(X), y)
    >>> int(EL2N()(clf).argmin())
    7
    """

    _estimator_checks = (check_classifier, check_recorded, check_class_probabilities)
    _of_one_label = True

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return minus the mean error of each sample."""
        self._run(estimator)
        return -mean_over_epochs(estimator, probability_errors, self.n_epochs)


class GraNd(_EarlyEpochs, name="grand"):
    r"""Score the samples by the norm of their gradients early in training.

    Named ``"grand"``. The score is minus the mean, over the models at the ends of the
    first epochs, of the norm of the gradient of the sample's loss [1]_,

    .. math:: \text{score}_i = - \frac{1}{T} \sum_{t=1}^T \| ∇ℓ_i(θ_t) \|_2,

    over those of these epochs that trained on the sample, unweighted, with dropout and
    BatchNorm in evaluation mode. It is in the unit of the loss per that of the
    parameters, never positive, and 0 for rows that were not trained on. The paper takes
    the mean over several runs in place of the epochs of one. The validation data is not
    used.

    Parameters
    ----------
    n_epochs : int, default=10
        T, the number of first epochs; all, if the run has fewer.

    See Also
    --------
    SelfInfluence : The squares, times the learning rates, over all epochs.

    References
    ----------
    .. [1] M. Paul, S. Ganguli, G. K. Dziugaite, "Deep Learning on a Data Diet: Finding
       Important Examples Early in Training", NeurIPS 2021, definition 2.1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import GraNd
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(scale(X), y)
    >>> 7 in GraNd()(clf).argsort()[:5]
    True
    """

    _estimator_checks = (check_recorded,)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return minus the mean norm of each sample's gradients."""
        run = self._run(estimator)
        gradients = SampleGradients(run.step.objective, run.step.live.parameters)
        norms, counts = np.zeros((2, run.trajectory.n_samples))
        for visit in visits(run, "epochs", self.n_epochs):
            for part, _, each in sample_gradients(run, gradients, visit):
                rows = part.batch.rows.numpy()
                norms[rows] += torch.linalg.norm(each.double(), dim=1).cpu().numpy()
                counts[rows] += 1
        return -norms / np.maximum(counts, 1)
