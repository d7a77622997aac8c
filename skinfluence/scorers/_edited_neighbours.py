"""Disagreement with the nearest neighbours as a scorer."""

from collections.abc import Callable

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.neighbors import NearestNeighbors

from .._numbers import check_integer
from ._base import BaseScorer, ScoringData
from ._checks import check_classifier
from ._features import check_features, features_of


class EditedNeighbours(BaseScorer, name="edited_neighbours"):
    r"""Score the samples by how many of their neighbours have another label.

    Named ``"edited_neighbours"``. The score is minus the share of the k nearest other
    training samples that have another label,

    .. math:: \text{score}_i = - \frac{1}{k} \sum_{j=1}^k 1[y_{α_j(i)} \ne y_i],

    where :math:`α_j(i)` is the j-th neighbour of sample i. Wilson's rule [1]_ removes
    those with a score below -1/2, which their neighbours outvote. No model is trained.
    The validation data is not used.

    Parameters
    ----------
    n_neighbors : int, default=5
        The number k of neighbours, below the number of samples.
    features : {"input", "representation"}, default="input"
        Where distances are measured: between the inputs, flattened if they have more
        than two axes, or between the inputs of the fitted network's last linear layer.
    metric : str or callable, default="euclidean"
        As in :class:`sklearn.neighbors.NearestNeighbors`.

    See Also
    --------
    KNNShapley : The value of each sample for the validation data.

    References
    ----------
    .. [1] D. L. Wilson, "Asymptotic Properties of Nearest Neighbor Rules Using Edited
       Data", IEEE Transactions on Systems, Man, and Cybernetics 2(3), 1972.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skinfluence.scorers import EditedNeighbours
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> float(EditedNeighbours()(KNeighborsClassifier(), X, y)[7])
    -1.0
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
    _required_data = ("X", "y")

    def _check_parameters(self) -> None:
        check_integer("n_neighbors", self.n_neighbors, 1)

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        check_features(self.features, estimator, self._name)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return minus the share of each sample's neighbours with another label."""
        labels = np.asarray(data.y)
        if self.n_neighbors >= len(labels):
            raise ValueError(
                "`n_neighbors` must be below the number of samples "
                f"({len(labels)}), got {self.n_neighbors}."
            )
        search = NearestNeighbors(n_neighbors=self.n_neighbors, metric=self.metric)
        search.fit(features_of(self.features, estimator, data.X))
        # Without samples to look up: a training sample is not its own neighbour.
        neighbours = search.kneighbors(return_distance=False)
        return -(labels[neighbours] != labels[:, None]).mean(axis=1)
