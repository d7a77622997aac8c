"""The margin as a scorer: of the final model, and over the epochs."""

import numpy as np
from sklearn.base import BaseEstimator

from ._base import BaseScorer, ScoringData
from ._checks import (
    check_class_probabilities,
    check_classifier,
    check_probabilities,
    check_recorded,
)
from ._sample_measures import (
    margins,
    mean_over_epochs,
    measure_samples,
    probability_leads,
)


class Margin(BaseScorer, name="margin"):
    r"""Score the samples by the margin of their label over all others.

    Named ``"margin"``. The score is the fitted model's logit of the given label minus
    the largest other logit [1]_, in evaluation mode: negative where the model
    contradicts the label,

    .. math:: z_{y}(x) - \max_{k \ne y} z_k(x).

    A single output z, as for ``BCEWithLogitsLoss``, counts as the logits (0, z). The
    logits of other estimators are the logarithms of their probabilities. The validation
    data is not used.

    See Also
    --------
    AreaUnderMargin : The same, averaged over the epochs.

    References
    ----------
    .. [1] G. Pleiss, T. Zhang, E. Elenberg, K. Weinberger, "Identifying Mislabeled Data
       using the Area Under the Margin Ranking", NeurIPS 2020, section 3.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinfluence.scorers import Margin
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> scores = Margin()(LogisticRegression(max_iter=1000).fit(X, y), X, y)
    >>> int(scores.argmin())
    7
    """

    _estimator_checks = (check_classifier,)
    _of_one_label = True

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        if not hasattr(estimator, "get_losses"):
            check_probabilities(estimator, self._name)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the margin of each sample."""
        if hasattr(estimator, "get_losses"):
            return measure_samples(estimator, margins)
        probabilities = np.asarray(estimator.predict_proba(data.X), dtype=np.float64)
        # A probability of 0 would give infinite margins.
        logits = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
        is_label = np.asarray(data.y)[:, None] == estimator.classes_
        others = np.where(is_label, -np.inf, logits)
        return logits[is_label] - others.max(axis=1)


class AreaUnderMargin(BaseScorer, name="area_under_margin"):
    r"""Score the samples by their margin, averaged over the recorded epochs.

    Named ``"area_under_margin"``. The score is the mean, over the models
    :math:`z^{(t)}` at the ends of the recorded epochs, of the logit of the given label
    minus the largest other logit [1]_, in evaluation mode:

    .. math:: \frac{1}{T} \sum_{t=1}^T z^{(t)}_{y}(x) - \max_{k \ne y} z^{(t)}_k(x).

    The paper takes the logits at the steps that train on the sample, this class those
    at the ends of the epochs. The validation data is not used.

    See Also
    --------
    Margin : The margin of the final model only, for any classifier.
    ProbabilityMargin : The margin of the epochs' mean probabilities.

    References
    ----------
    .. [1] G. Pleiss, T. Zhang, E. Elenberg, K. Weinberger, "Identifying Mislabeled Data
       using the Area Under the Margin Ranking", NeurIPS 2020, section 3.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import AreaUnderMargin
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(scale(X), y)
    >>> int(AreaUnderMargin()(clf).argmin())
    7
    """

    _estimator_checks = (check_classifier, check_recorded)
    _of_one_label = True

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the mean margin of each sample."""
        return mean_over_epochs(estimator, margins)


class ProbabilityMargin(BaseScorer, name="probability_margin"):
    r"""Score the samples by the margin of their mean probabilities over the epochs.

    Named ``"probability_margin"``. The models :math:`p^{(t)}` at the ends of the
    recorded epochs vote with their probabilities, as the self-ensemble in [1]_ does by
    a moving average, and the score is the margin by which the given label wins, in
    evaluation mode:

    .. math:: \bar p_y(x) - \max_{k \ne y} \bar p_k(x), \quad
       \bar p_k(x) = \frac{1}{T} \sum_{t=1}^T p^{(t)}_k(x).

    It lies between -1 and 1, and is negative where the models contradict the label. No
    epoch weighs more than another, while logits, and with them
    :class:`AreaUnderMargin`, grow as long as training lasts. The validation data is not
    used.

    See Also
    --------
    AreaUnderMargin : The mean of the margins of the logits.

    References
    ----------
    .. [1] D. T. Nguyen, C. K. Mummadi, T. P. N. Ngo, T. H. P. Nguyen, L. Beggel,
       T. Brox, "SELF: Learning to Filter Noisy Labels with Self-Ensembling", ICLR 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import ProbabilityMargin
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(scale(X), y)
    >>> int(ProbabilityMargin()(clf).argmin())
    7
    """

    _estimator_checks = (check_classifier, check_recorded, check_class_probabilities)
    _of_one_label = True

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the margin of the mean probabilities of each sample."""
        return mean_over_epochs(estimator, probability_leads).min(axis=1)
