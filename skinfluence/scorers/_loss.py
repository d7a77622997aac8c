"""The loss of the samples themselves as a scorer."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier, is_regressor

from ._epochs import losses, measure_samples


class Loss(BaseEstimator):
    """Score the samples by how well the model fits them: the worst are removed first.

    The name ``"loss"`` stands for it. The score is minus the fitted model's own loss on
    each training sample, in evaluation mode and unweighted: the criterion's for the
    library's estimators, else the logarithmic loss of a classifier's probabilities or
    the squared error of a regressor's predictions. The validation data is not used.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinfluence.scorers import Loss
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> scores = Loss()(LogisticRegression(max_iter=1000).fit(X, y), X, y)
    >>> int(scores.argmin())
    7
    """

    def check_estimator(self, estimator: Any) -> None:
        """Raise an error if there is no loss of a single sample.

        Parameters
        ----------
        estimator : object
            The estimator, fitted or not.

        Raises
        ------
        TypeError
            If it is neither one of the library's estimators, nor a classifier with
            ``predict_proba``, nor a regressor.
        """
        known = hasattr(estimator, "get_losses") or is_regressor(estimator)
        if not known and not hasattr(estimator, "predict_proba"):
            raise TypeError(
                "`estimator` must have `get_losses`, have `predict_proba` or be a "
                f"regressor for the scorer 'loss', got {type(estimator).__name__}."
            )

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        X_val: Any = None,
        y_val: Any = None,
        *,
        sample_weight_val: Any = None,
    ) -> np.ndarray:
        """Return minus the loss of each sample.

        Parameters
        ----------
        estimator : object
            An estimator, fitted on X and y.
        X, y : array-like of n_samples rows
            What it was fitted on.
        X_val, y_val, sample_weight_val : object
            Not used.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Minus the losses, in the loss's unit.
        """
        if hasattr(estimator, "get_losses"):
            return -measure_samples(estimator, losses)
        if is_classifier(estimator):
            columns = np.searchsorted(estimator.classes_, np.asarray(y))
            likely = estimator.predict_proba(X)[np.arange(len(columns)), columns]
            return np.log(np.maximum(likely, np.finfo(likely.dtype).tiny))
        errors = np.asarray(y, dtype=np.float64) - estimator.predict(X)
        return -np.square(errors).reshape(len(errors), -1).mean(axis=1)
