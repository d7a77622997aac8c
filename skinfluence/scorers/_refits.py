"""Fits of the estimator on parts of the training data."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import check_scoring
from sklearn.utils import _safe_indexing

from ._base import ScoringData


def unrecorded(estimator: BaseEstimator) -> BaseEstimator:
    """Return an unfitted copy that does not record its training."""
    # Many fits, none of which is retraced: a record would only cost memory.
    copy = clone(estimator)
    if hasattr(copy, "get_losses"):
        copy.set_params(record=None)
    return copy


@dataclass(frozen=True)
class Utility:
    """The validation score of the estimator fitted on a set of training samples.

    Attributes
    ----------
    estimator : object
        The estimator; clones of it are fitted.
    scoring : callable
        ``scoring(fitted, X_val, y_val)``.
    X, y : array-like of n_samples rows
        The training samples.
    X_val, y_val : array-like of n_val rows
        Validation data.
    options : dict
        Further arguments of `scoring`.
    """

    estimator: BaseEstimator
    scoring: Callable[..., float]
    X: ArrayLike | None
    y: np.ndarray
    X_val: ArrayLike | None
    y_val: ArrayLike | None
    options: dict[str, ArrayLike]

    @classmethod
    def of(
        cls,
        estimator: BaseEstimator,
        scoring: str | Callable[..., float] | None,
        data: ScoringData,
    ) -> "Utility":
        """Return the utility for an estimator and the data of a scorer's call."""
        weights = data.sample_weight_val
        return cls(
            unrecorded(estimator),
            check_scoring(estimator, scoring),
            data.X,
            np.asarray(data.y),
            data.X_val,
            data.y_val,
            {} if weights is None else {"sample_weight": weights},
        )

    def __call__(self, rows: np.ndarray) -> float:
        """Return the score of a set; for an empty one, of a constant prediction."""
        # Sorted, so that the fit does not depend on the order of the permutation.
        rows = np.sort(rows)
        model = self._fit(rows) if len(rows) else self._constant(slice(None))
        return float(self.scoring(model, self.X_val, self.y_val, **self.options))

    def _fit(self, rows: np.ndarray) -> BaseEstimator:
        y = self.y[rows]
        # Most classifiers refuse a single class.
        if is_classifier(self.estimator) and len(np.unique(y)) == 1:
            return self._constant(rows)
        return clone(self.estimator).fit(_safe_indexing(self.X, rows), y)

    def _constant(self, rows: np.ndarray | slice) -> BaseEstimator:
        y = self.y[rows]
        dummy = DummyClassifier if is_classifier(self.estimator) else DummyRegressor
        return dummy().fit(np.zeros((len(y), 1)), y)
