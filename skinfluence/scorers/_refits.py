"""Fits of the estimator on a part of the training data."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.utils import _safe_indexing


def unrecorded(estimator: Any) -> Any:
    """Return an unfitted copy that does not record its training."""
    copy = clone(estimator)
    if hasattr(copy, "get_losses"):
        copy.set_params(record=None)
    return copy


@dataclass(frozen=True)
class Utility:
    """What a set of training samples is worth: the validation score of a fit on it.

    Attributes
    ----------
    estimator : object
        What is fitted, on a copy.
    scoring : callable
        ``scoring(fitted, X_val, y_val)``.
    X, y : array-like of n_samples rows
        The training samples.
    X_val, y_val : array-like of n_val rows
        Validation data.
    options : dict
        What else `scoring` is given.
    """

    estimator: Any
    scoring: Any
    X: Any
    y: np.ndarray
    X_val: Any
    y_val: Any
    options: dict[str, Any]

    def __call__(self, rows: np.ndarray) -> float:
        """Return the worth of a set; of none, the best constant prediction's."""
        # A set has no order, whatever order its samples came in.
        rows = np.sort(rows)
        model = self._fit(rows) if len(rows) else self._constant(slice(None))
        return float(self.scoring(model, self.X_val, self.y_val, **self.options))

    def _fit(self, rows: np.ndarray) -> Any:
        y = self.y[rows]
        if is_classifier(self.estimator) and len(np.unique(y)) == 1:
            return self._constant(rows)
        return clone(self.estimator).fit(_safe_indexing(self.X, rows), y)

    def _constant(self, rows: Any) -> Any:
        y = self.y[rows]
        dummy = DummyClassifier if is_classifier(self.estimator) else DummyRegressor
        return dummy().fit(np.zeros((len(y), 1)), y)
