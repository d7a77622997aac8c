"""Forgetting events as a scorer."""

import numpy as np
from scipy.stats import rankdata
from sklearn.base import BaseEstimator

from ._base import BaseScorer, ScoringData
from ._checks import check_classifier, check_recorded
from ._sample_measures import margins, measure_epochs


class Forgetting(BaseScorer, name="forgetting"):
    """Score the samples by how often training forgot them, most forgotten first.

    Named ``"forgetting"``. A sample is forgotten when the model at the end of an epoch
    predicts its given label and the model at the end of the next recorded epoch does
    not [1]_. A sample that was never predicted correctly counts as forgotten in every
    epoch, more often than any other. The validation data is not used.

    The score is minus this count, minus a fraction below 1 that breaks ties by the mean
    margin over the epochs (:class:`AreaUnderMargin`), lowest first.

    References
    ----------
    .. [1] M. Toneva, A. Sordoni, R. Tachet des Combes, A. Trischler, Y. Bengio,
       G. Gordon, "An Empirical Study of Example Forgetting during Deep Neural Network
       Learning", ICLR 2019, section 3 and Algorithm 1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import Forgetting
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> clf = SGDInfluenceClassifier(max_epochs=15, random_state=0).fit(scale(X), y)
    >>> scores = Forgetting()(clf)
    >>> int(scores.argmin()), int(-scores[7])
    (7, 15)
    """

    _estimator_checks = (check_classifier, check_recorded)
    _of_one_label = True

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return minus the number of times that each sample was forgotten."""
        table = measure_epochs(estimator, margins)
        correct = table > 0
        events = (correct[:-1] & ~correct[1:]).sum(axis=0)
        counts = np.where(correct.any(axis=0), events, len(table))
        tie_break = (rankdata(-table.mean(axis=0)) - 1) / table.shape[1]
        return -(counts + tie_break)
