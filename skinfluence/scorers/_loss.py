"""The loss of the samples themselves as a scorer."""

import numpy as np
from sklearn.base import BaseEstimator, is_classifier, is_regressor

from ._base import BaseScorer, ScoringData
from ._sample_measures import losses, measure_samples


class Loss(BaseScorer, name="loss"):
    """Score the samples by how well the model fits them, worst first.

    Named ``"loss"``. The score is minus the fitted model's loss on each training
    sample, in the unit of the loss, in evaluation mode and unweighted: that of the
    criterion for the library's estimators, else the log loss of a classifier or the
    squared error of a regressor. The validation data is not used.

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

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        has_loss = hasattr(estimator, "get_losses") or is_regressor(estimator)
        if not has_loss and not hasattr(estimator, "predict_proba"):
            raise TypeError(
                "`estimator` must have `get_losses`, have `predict_proba` or be a "
                f"regressor for the scorer {self._name!r}, got "
                f"{type(estimator).__name__}."
            )

    def _needs_one_label(self, estimator: object) -> bool:
        # The library's own have a loss of several labels.
        return not hasattr(estimator, "get_losses")

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return minus the loss of each sample."""
        if hasattr(estimator, "get_losses"):
            return -measure_samples(estimator, losses)
        if is_classifier(estimator):
            # The classes of an estimator that was told them are in any order.
            is_label = np.asarray(data.y)[:, None] == estimator.classes_
            likelihood = estimator.predict_proba(data.X)[is_label]
            # A probability of 0 would give a score of -inf, which rankings refuse.
            return np.log(np.maximum(likelihood, np.finfo(likelihood.dtype).tiny))
        errors = np.asarray(data.y, dtype=np.float64) - estimator.predict(data.X)
        return -np.square(errors).reshape(len(errors), -1).mean(axis=1)
