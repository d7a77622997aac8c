"""The Shapley values of a nearest-neighbours classifier as a scorer."""

from collections.abc import Callable

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import pairwise_distances_chunked
from sklearn.utils.validation import _check_sample_weight

from .._numbers import check_integer
from ._base import BaseScorer, ScoringData
from ._checks import check_classifier
from ._features import check_features, features_of


class KNNShapley(BaseScorer, name="knn_shapley"):
    r"""Score the samples by their Shapley value for a nearest-neighbours classifier.

    Named ``"knn_shapley"``. The score is the sample's exact share of the mean
    probability that a K-nearest-neighbours classifier gives to the correct validation
    label. The value of a set S of samples is

    .. math::

       v(S) = \frac{1}{n_{val}} \sum_j \frac{1}{K}
       \sum_{k=1}^{\min(K, |S|)} 1[y_{α_k(j, S)} = y_j],

    where :math:`α_k(j, S)` is the k-th neighbour in S of validation sample j. Computing
    all scores costs no more than sorting the distances [1]_, and no training. They sum
    to v of all samples; a negative score means that the sample is harmful.

    Parameters
    ----------
    n_neighbors : int, default=5
        K, the number of neighbours.
    features : {"input", "representation"}, default="input"
        Where distances are measured: between the inputs, flattened if they have more
        than two axes, or between the inputs of the fitted network's last linear layer.
    metric : str or callable, default="euclidean"
        As in :func:`sklearn.metrics.pairwise_distances`.

    See Also
    --------
    DataShapley : The Shapley value for the estimator itself.

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
        metric: str | Callable[[np.ndarray, np.ndarray], float] = "euclidean",
    ) -> None:
        self.n_neighbors = n_neighbors
        self.features = features
        self.metric = metric

    _estimator_checks = (check_classifier,)
    _of_one_label = True
    _required_data = ("X", "y", "X_val", "y_val")

    def _check_parameters(self) -> None:
        check_integer("n_neighbors", self.n_neighbors, 1)

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        check_features(self.features, estimator, self._name)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the Shapley value of each sample."""
        labels, labels_val = np.asarray(data.y), np.asarray(data.y_val)
        weights = _check_sample_weight(
            data.sample_weight_val, labels_val, dtype=np.float64
        )
        total, start = np.zeros(len(labels)), 0
        # In chunks: the whole matrix of distances may not fit in memory.
        for distances in pairwise_distances_chunked(
            features_of(self.features, estimator, data.X_val),
            features_of(self.features, estimator, data.X),
            metric=self.metric,
        ):
            # Stable, so that ties rank by row on every platform.
            order = np.argsort(distances, axis=1, kind="stable")
            part = slice(start, start + len(order))
            correct = labels[order] == labels_val[part, None]
            values = weights[part, None] * _by_rank(correct, int(self.n_neighbors))
            total += np.bincount(order.ravel(), values.ravel(), minlength=len(labels))
            start += len(order)
        return total / weights.sum()


def _by_rank(correct: np.ndarray, k: int) -> np.ndarray:
    """Return the values, nearest sample first, given which labels are correct."""
    hits = correct.astype(np.float64)
    n_samples = hits.shape[1]
    rank = np.arange(1, n_samples)
    values = np.empty_like(hits)
    values[:, :-1] = (hits[:, :-1] - hits[:, 1:]) * np.minimum(k, rank) / (k * rank)
    values[:, -1] = hits[:, -1] * min(k, n_samples) / (k * n_samples)
    # The recursion of Theorem 1: a value is that of the next farther sample plus a
    # difference.
    return np.cumsum(values[:, ::-1], axis=1)[:, ::-1]
