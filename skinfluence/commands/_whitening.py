"""Features without what they have in common, so that SGD learns from all of them."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

USUAL_NORM = 20.0
"""The mean squared norm of a row for which the default learning rate is meant.

That of some twenty columns.
"""

# At most so many, and one for so many rows: more are noise, as large as the others.
_MOST, _ROWS = 256, 5


class Whitening(TransformerMixin, BaseEstimator):
    """The principal components of scaled features, in about the same scale.

    Those that vary less than a single feature stay smaller than the others.
    """

    def fit(self, X: np.ndarray, y: Any = None) -> "Whitening":
        """Learn scales and components."""
        self._scaler = StandardScaler().fit(X)
        scaled = self._scaler.transform(X)
        n_components = min(_MOST, max(1, len(X) // _ROWS), X.shape[1])
        self._pca = PCA(n_components, random_state=0).fit(scaled)
        variances = np.maximum(self._pca.explained_variance_, 0)
        scales = 1 / np.sqrt(variances + 1)
        left = float((variances * scales**2).sum())
        self._scales = scales * np.sqrt(USUAL_NORM / left if left else 1)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return components of shape (n, n_components)."""
        components = self._pca.transform(self._scaler.transform(X))
        scaled: np.ndarray = components * self._scales
        return scaled

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_pca")
