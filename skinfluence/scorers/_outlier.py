"""Outlier detectors as scorers."""

import numpy as np
from sklearn.base import BaseEstimator, clone, is_outlier_detector

from ._base import BaseScorer, ScoringData
from ._features import check_features, features_of


class Outlier(BaseScorer):
    """Score the samples by a scikit-learn outlier detector, outliers first.

    A detector passed as the scorer of a cleaner is wrapped in this class. It sees only
    the training inputs, neither labels nor validation data, so it cannot find wrong
    labels of ordinary inputs [1]_. The score is that of the detector, in its unit.

    Parameters
    ----------
    detector : object
        An estimator that has ``negative_outlier_factor_`` or ``score_samples`` once
        fitted, such as :class:`~sklearn.ensemble.IsolationForest`,
        :class:`~sklearn.neighbors.LocalOutlierFactor` or
        :class:`~sklearn.svm.OneClassSVM`.
    features : {"input", "representation"}, default="input"
        What the detector sees of a sample: its input, flattened if it has more than
        one axis, or the input of the fitted network's last linear layer.

    References
    ----------
    .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained with
       SGD", NeurIPS 2019, section 6, where it is a baseline.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import LocalOutlierFactor
    >>> from skinfluence.scorers import Outlier
    >>> X = np.array([[0.0], [0.1], [0.2], [5.0], [0.3]])
    >>> scores = Outlier(LocalOutlierFactor(n_neighbors=2))(None, X)
    >>> int(scores.argmin())
    3
    """

    def __init__(self, detector: BaseEstimator, features: str = "input") -> None:
        self.detector = detector
        self.features = features

    _required_data = ("X",)

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        check_features(self.features, estimator, self._name)
        if isinstance(self.detector, type) or not is_detector(self.detector):
            raise TypeError(
                "`detector` must be an instance of an outlier detector, such as "
                f"IsolationForest(), got {self.detector!r:.200}."
            )

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the detector's scores of the samples."""
        rows = features_of(self.features, estimator, data.X)
        detector = clone(self.detector).fit(rows)
        # LocalOutlierFactor scores the samples it was fitted on by this alone.
        if hasattr(detector, "negative_outlier_factor_"):
            return np.asarray(detector.negative_outlier_factor_)
        return np.asarray(detector.score_samples(rows))


def is_detector(detector: object) -> bool:
    """Whether something finds outliers without labels."""
    if not hasattr(detector, "fit"):
        return False
    # Density estimators rank outliers too, but are not tagged as outlier detectors.
    return is_outlier_detector(detector) or hasattr(detector, "score_samples")
