"""The mean loss over the epochs as a scorer."""

import numpy as np
from sklearn.base import BaseEstimator

from ._base import BaseScorer, ScoringData
from ._checks import check_recorded
from ._sample_measures import losses, mean_over_epochs


class MeanLoss(BaseScorer, name="mean_loss"):
    """Score the samples by their loss, averaged over the recorded epochs.

    Named ``"mean_loss"``. The score is minus the mean of the criterion's loss on each
    training sample over the models at the ends of the recorded epochs, in the unit of
    the loss, unweighted and in evaluation mode. Networks fit most wrong labels late:
    early epochs reveal them where the final model no longer does [1]_. The validation
    data is not used.

    See Also
    --------
    Loss : The loss of the final model only, for any estimator.

    References
    ----------
    .. [1] E. Arazo, D. Ortego, P. Albert, N. O'Connor, K. McGuinness, "Unsupervised
       Label Noise Modeling and Loss Correction", ICML 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import MeanLoss
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(scale(X), y)
    >>> int(MeanLoss()(clf).argmin())
    7
    """

    _estimator_checks = (check_recorded,)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return minus the mean loss of each sample."""
        return -mean_over_epochs(estimator, losses)
