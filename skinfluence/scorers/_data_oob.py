"""Out-of-bag correctness as a scorer."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.utils import _safe_indexing

from ._refits import unrecorded


class DataOOB(BaseEstimator):
    """Score the samples by how well models that did not see them predict them.

    The name ``"data_oob"`` stands for it. The estimator is bagged: fitted on bootstrap
    samples of the training data, without sample weights. The score is the mean, over
    the models whose bag a sample is not in, of how right they are about it [1]_: for a
    classifier 1 or 0, for a regressor minus the squared error. A sample that is in all
    bags, as there are with few models, gets the mean of the others. The validation data
    is not used.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of models. Each sample is left out by about 37 % of them.
    n_jobs : int or None, default=None
        Number of models fitted at once, through joblib.
    random_state : int, RandomState instance or None, default=None
        Draws the bags. Pass an int for the same ones each time.

    References
    ----------
    .. [1] Y. Kwon, J. Zou, "Data-OOB: Out-of-bag Estimate as a Simple and Efficient
       Data Value", ICML 2023, section 3.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skinfluence.scorers import DataOOB
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> scores = DataOOB(random_state=0)(DecisionTreeClassifier(), X, y)
    >>> float(scores[7])
    0.0
    """

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.n_jobs = n_jobs
        self.random_state = random_state

    def check_estimator(self, estimator: Any) -> None:
        """Raise an error if it is neither a classifier nor a regressor.

        Parameters
        ----------
        estimator : object
            The estimator, fitted or not.

        Raises
        ------
        ValueError
            If `n_estimators` is not a positive integer.
        TypeError
            If it is neither a classifier nor a regressor.
        """
        if not isinstance(self.n_estimators, Integral) or self.n_estimators < 1:
            raise ValueError(
                "`n_estimators` must be an integer of at least 1, got "
                f"{self.n_estimators!r}."
            )
        if not is_classifier(estimator) and not is_regressor(estimator):
            raise TypeError(
                "`estimator` must be a classifier or a regressor for the scorer "
                f"'data_oob', got {type(estimator).__name__}."
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
        """Return the out-of-bag correctness of each sample.

        Parameters
        ----------
        estimator : object
            A classifier or regressor; clones of it are fitted.
        X, y : array-like of n_samples rows
            The training samples.
        X_val, y_val, sample_weight_val : object
            Not used.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Shares of right predictions, or minus the mean squared errors.

        Raises
        ------
        ValueError
            If every sample is in every bag.
        """
        self.check_estimator(estimator)
        labels = np.asarray(y)
        classifies = is_classifier(estimator)
        rows = np.arange(len(labels))[:, None]
        bagging = BaggingClassifier if classifies else BaggingRegressor
        bags = bagging(
            _OfRows(unrecorded(estimator), X),
            self.n_estimators,
            n_jobs=self.n_jobs,
            random_state=self.random_state,
        ).fit(rows, labels)
        if classifies:
            # The models know the classes by number.
            labels = np.searchsorted(bags.classes_, labels)
        total, count = np.zeros(len(labels)), np.zeros(len(labels))
        for model, inside in zip(
            bags.estimators_, bags.estimators_samples_, strict=True
        ):
            outside = np.setdiff1d(rows, inside)
            if len(outside):
                predicted = model.predict(rows[outside])
                total[outside] += _rightness(predicted, labels[outside], classifies)
                count[outside] += 1
        if not count.any():
            raise ValueError(
                "`n_estimators` must be so large that some sample is not in every bag, "
                f"got {self.n_estimators} for {len(labels)} samples."
            )
        known = count > 0
        mean = np.divide(total, count, out=np.empty_like(total), where=known)
        mean[~known] = mean[known].mean()
        return mean


class _OfRows(BaseEstimator):
    """An estimator that is told rows of data, which may be in any container."""

    def __init__(self, estimator: Any, data: Any) -> None:
        self.estimator = estimator
        self.data = data

    def __sklearn_clone__(self) -> "_OfRows":
        # scikit-learn's own would copy the data for each model.
        return _OfRows(clone(self.estimator), self.data)

    def fit(self, rows: Any, y: Any) -> "_OfRows":
        """Fit the estimator on the rows."""
        self.estimator.fit(_safe_indexing(self.data, rows[:, 0]), y)
        return self

    def predict(self, rows: Any) -> Any:
        """Predict the rows' targets."""
        return self.estimator.predict(_safe_indexing(self.data, rows[:, 0]))


def _rightness(predicted: Any, y: np.ndarray, classifies: bool) -> np.ndarray:
    """Return 1 or 0 for classes, minus the squared error for numbers."""
    if classifies:
        return np.asarray(predicted == y, dtype=np.float64)
    errors = np.asarray(y, dtype=np.float64) - predicted
    return -np.square(errors).reshape(len(errors), -1).mean(axis=1)
