"""Outlier detectors as scorers."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone


class Outlier(BaseEstimator):
    """Score the samples by a scikit-learn outlier detector: outliers go first.

    A detector given as the scorer of a cleaner stands for it. It sees the training
    inputs only: neither labels, nor the model, nor the validation data.

    Parameters
    ----------
    detector : object
        An estimator with ``fit`` that then has ``negative_outlier_factor_`` or
        ``score_samples``, such as :class:`~sklearn.ensemble.IsolationForest`,
        :class:`~sklearn.neighbors.LocalOutlierFactor` or
        :class:`~sklearn.svm.OneClassSVM`.

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

    def __init__(self, detector: Any) -> None:
        self.detector = detector

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        *,
        sample_weight_val: Any = None,
    ) -> np.ndarray:
        """Return the detector's scores of the samples.

        Parameters
        ----------
        estimator : object
            Not used.
        X : array-like of n_samples rows
            The training inputs.
        y, X_val, y_val, sample_weight_val : object
            Not used.

        Returns
        -------
        ndarray of shape (n_samples,)
            The lower, the more abnormal.
        """
        detector = clone(self.detector).fit(X)
        # LocalOutlierFactor tells of its own samples by this alone.
        if hasattr(detector, "negative_outlier_factor_"):
            return np.asarray(detector.negative_outlier_factor_)
        return np.asarray(detector.score_samples(X))
