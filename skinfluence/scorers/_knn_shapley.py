"""The Shapley values of a nearest-neighbours classifier as a scorer."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import pairwise_distances_chunked
from sklearn.utils.validation import _check_sample_weight

from ._checks import check_classifies
from ._features import check_features, features_of


class KNNShapley(BaseEstimator):
    r"""Score the samples by their Shapley value to a nearest-neighbours classifier.

    The name ``"knn_shapley"`` stands for it. The score is the sample's exact share in
    the mean validation probability that K nearest neighbours give to the right label,
    a set S of samples being worth

    .. math::

       v(S) = \frac{1}{n_{val}} \sum_j \frac{1}{K}
       \sum_{k=1}^{\min(K, |S|)} 1[y_{α_k(j, S)} = y_j],

    where :math:`α_k(j, S)` is the k-th neighbour in S of validation sample j. All
    values take no more than sorting the distances [1]_, and no training. They sum to
    v of all samples; a negative one does harm.

    Parameters
    ----------
    n_neighbors : int, default=5
        K, the number of neighbours.
    features : {"input", "representation"}, default="input"
        Where distances are measured: between inputs, flattened where they are images
        or the like, or between what goes into the last linear layer of the fitted
        network.
    metric : str or callable, default="euclidean"
        As in :func:`sklearn.metrics.pairwise_distances`.

    See Also
    --------
    DataShapley : The Shapley value to the estimator itself.

    References
    ----------
    .. [1] R. Jia, D. Dao, B. Wang, F. A. Hubis, N. M. Gurel, B. Li, C. Zhang,
       C. Spanos, D. Song, "Efficient Task-Specific Data Valuation for Nearest Neighbor
       Algorithms", VLDB 2019, Theorem 1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skinfluence.scorers import KNNShapley
    >>> X, y = load_iris(return_X_y=True)
    >>> y[8] = 2
    >>> scores = KNNShapley()(KNeighborsClassifier(), X[::2], y[::2], X[1::2], y[1::2])
    >>> int(scores.argmin())
    4
    """

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        features: str = "input",
        metric: Any = "euclidean",
    ) -> None:
        self.n_neighbors = n_neighbors
        self.features = features
        self.metric = metric

    def check_estimator(self, estimator: Any) -> None:
        """Raise an error if it is no classifier, or lacks the features.

        Parameters
        ----------
        estimator : object
            The estimator, fitted or not.

        Raises
        ------
        ValueError
            If a parameter is not as described.
        TypeError
            If it is no classifier, or `features` is ``"representation"`` and it has
            none.
        """
        if not isinstance(self.n_neighbors, Integral) or self.n_neighbors < 1:
            raise ValueError(
                "`n_neighbors` must be an integer of at least 1, got "
                f"{self.n_neighbors!r}."
            )
        check_classifies(estimator, "knn_shapley")
        check_features(self.features, estimator, "'knn_shapley'")

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
        """Return the Shapley value of each sample.

        Parameters
        ----------
        estimator : object
            A classifier; the fitted network, for its representation.
        X, y : array-like of n_samples rows
            The training samples.
        X_val, y_val : array-like of n_val rows
            Validation data.
        sample_weight_val : array-like of shape (n_val,), optional
            Weights of the validation samples in the mean.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Values, in the probability of the right label.
        """
        self.check_estimator(estimator)
        labels, labels_val = np.asarray(y), np.asarray(y_val)
        weights = _check_sample_weight(sample_weight_val, labels_val, dtype=np.float64)
        total, start = np.zeros(len(labels)), 0
        for distances in pairwise_distances_chunked(
            features_of(self.features, estimator, X_val),
            features_of(self.features, estimator, X),
            metric=self.metric,
        ):
            order = np.argsort(distances, axis=1, kind="stable")
            part = slice(start, start + len(order))
            right = labels[order] == labels_val[part, None]
            values = weights[part, None] * _by_rank(right, int(self.n_neighbors))
            total += np.bincount(order.ravel(), values.ravel(), minlength=len(labels))
            start += len(order)
        return total / weights.sum()


def _by_rank(right: np.ndarray, k: int) -> np.ndarray:
    """Return values, the nearest first, from whether each has the right label."""
    right = right.astype(np.float64)
    n_samples = right.shape[1]
    rank = np.arange(1, n_samples)
    values = np.empty_like(right)
    values[:, :-1] = (right[:, :-1] - right[:, 1:]) * np.minimum(k, rank) / (k * rank)
    values[:, -1] = right[:, -1] * min(k, n_samples) / (k * n_samples)
    # From the farthest to the nearest: each value is that of the next, and the rest.
    return np.cumsum(values[:, ::-1], axis=1)[:, ::-1]
