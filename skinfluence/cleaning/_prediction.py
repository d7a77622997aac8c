"""Predictions by the final estimator."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ._data import Samples


def _final_has(name: str) -> Callable[[Any], bool]:
    def check(cleaner: Any) -> bool:
        fitted = hasattr(cleaner, "final_estimator_")
        # Raises the estimator's own AttributeError, which is more specific.
        getattr(cleaner.final_estimator_ if fitted else cleaner._final(), name)
        return True

    return check


class PredictionMixin:
    """Delegates predictions to ``final_estimator_``."""

    final_estimator_: Any

    def _fitted_final(self) -> Any:
        check_is_fitted(self)
        check_is_fitted(
            self,
            "final_estimator_",
            msg="There is no final estimator after fit_resample: call fit instead.",
        )
        return self.final_estimator_

    @available_if(_final_has("predict"))
    def predict(self, X: Samples) -> np.ndarray:
        """Predict targets with the final estimator.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels, or predicted targets of a regressor.
        """
        return self._fitted_final().predict(X)

    @available_if(_final_has("predict_proba"))
    def predict_proba(self, X: Samples) -> np.ndarray:
        """Predict class probabilities with the final estimator.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return self._fitted_final().predict_proba(X)

    @available_if(_final_has("predict_log_proba"))
    def predict_log_proba(self, X: Samples) -> np.ndarray:
        """Predict logarithms of class probabilities with the final estimator.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Logarithms of the probabilities, in the order of ``classes_``.
        """
        return self._fitted_final().predict_log_proba(X)

    @available_if(_final_has("decision_function"))
    def decision_function(self, X: Samples) -> np.ndarray:
        """Compute the final estimator's decision function.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Confidence scores.
        """
        return self._fitted_final().decision_function(X)

    @available_if(_final_has("score"))
    def score(
        self, X: Samples, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Score the final estimator, as its own ``score`` does.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        sample_weight : array-like of shape (n_samples,), optional
            Their weights.

        Returns
        -------
        float
            By default the accuracy of a classifier, or a regressor's R².
        """
        options = {} if sample_weight is None else {"sample_weight": sample_weight}
        return float(self._fitted_final().score(X, y, **options))
