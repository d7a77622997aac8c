"""Outlier detectors as scorers."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone

from ._features import check_features, features_of


class Outlier(BaseEstimator):
    """Score the samples by a scikit-learn outlier detector: outliers go first.

    A detector given as the scorer of a cleaner stands for it. It sees the training
    samples only: neither their labels nor the validation data. The score is the
    detector's own, in its unit. Wrong labels on usual inputs it cannot find [1]_.

    Parameters
    ----------
    detector : object
        An estimator with ``fit`` that then has ``negative_outlier_factor_`` or
        ``score_samples``, such as :class:`~sklearn.ensemble.IsolationForest`,
        :class:`~sklearn.neighbors.LocalOutlierFactor` or
        :class:`~sklearn.svm.OneClassSVM`.
    features : {"input", "representation"}, default="input"
        What the detector sees of a sample: its input, flattened where it is an image
        or the like, or what goes into the last linear layer of the fitted network.

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

    def __init__(self, detector: Any, features: str = "input") -> None:
        self.detector = detector
        self.features = features

    def check_estimator(self, estimator: Any) -> None:
        """Raise an error if the estimator lacks the features.

        Parameters
        ----------
        estimator : object
            The estimator, fitted or not.

        Raises
        ------
        ValueError
            If `features` is not as described.
        TypeError
            If `features` is ``"representation"`` and the estimator has none.
        """
        check_features(self.features, estimator, "Outlier")

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
            The fitted network, for its representation; otherwise not used.
        X : array-like of n_samples rows
            The training inputs.
        y, X_val, y_val, sample_weight_val : object
            Not used.

        Returns
        -------
        ndarray of shape (n_samples,)
            The lower, the more abnormal.
        """
        self.check_estimator(estimator)
        rows = features_of(self.features, estimator, X)
        detector = clone(self.detector).fit(rows)
        # LocalOutlierFactor tells of its own samples by this alone.
        if hasattr(detector, "negative_outlier_factor_"):
            return np.asarray(detector.negative_outlier_factor_)
        return np.asarray(detector.score_samples(rows))
