"""Out-of-bag correctness as a scorer."""

from collections.abc import Callable
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.utils import _safe_indexing

from .._numbers import check_integer
from .._progress import counting
from ._base import BaseScorer, ScoringData
from ._checks import check_choice, check_predictor, check_probabilities
from ._refits import unrecorded


class DataOOB(BaseScorer, name="data_oob"):
    """Score the samples by how well models that did not see them predict them.

    Named ``"data_oob"``. Clones of the estimator are fitted on bootstrap samples of the
    training data, without sample weights. The score is the mean out-of-bag correctness,
    over the models that did not see the sample [1]_: for a classifier the share of
    correct predictions, for a regressor minus the mean squared error. A sample that is
    in every bag, which happens with few models, gets the mean of the others. The
    validation data is not used.

    With ``measure="loss"`` the score of a classifier is the logarithm of the mean
    probability of the sample's label, minus the log loss of bagging [2]_. Votes do not
    tell what the models find unlikely from what they find impossible.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of models. Each sample is left out by about 37 % of them.
    measure : {"correctness", "loss"}, default="correctness"
        What a classifier is asked: its votes, or its probabilities, by
        ``predict_proba``. The squared error of a regressor is both.
    n_jobs : int or None, default=None
        Number of models fitted in parallel, through joblib.
    random_state : int, RandomState instance or None, default=None
        Draws the bags. Pass an int for reproducible scores.

    References
    ----------
    .. [1] Y. Kwon, J. Zou, "Data-OOB: Out-of-bag Estimate as a Simple and Efficient
       Data Value", ICML 2023, section 3.
    .. [2] L. Breiman, "Bagging Predictors", Machine Learning 24(2), 1996.

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
        measure: str = "correctness",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.measure = measure
        self.n_jobs = n_jobs
        self.random_state = random_state

    _estimator_checks = (check_predictor,)
    _of_one_label = True
    _required_data = ("X", "y")

    def _check_parameters(self) -> None:
        check_integer("n_estimators", self.n_estimators, 1)
        check_choice("measure", self.measure, ("correctness", "loss"))

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        if self.measure == "loss" and is_classifier(estimator):
            check_probabilities(estimator, self._name)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the out-of-bag correctness of each sample."""
        labels = np.asarray(data.y)
        classifies = is_classifier(estimator)
        rows = np.arange(len(labels))[:, None]
        bagging = BaggingClassifier if classifies else BaggingRegressor
        # scikit-learn fits the models; other processes cannot move the bar.
        n_shown = self.n_estimators if effective_n_jobs(self.n_jobs) == 1 else 0
        with counting("Models", n_shown, "model") as advance:
            bags = bagging(
                _OfRows(unrecorded(estimator), data.X, labels, advance),
                self.n_estimators,
                n_jobs=self.n_jobs,
                random_state=self.random_state,
            ).fit(rows, labels)
        asks_probability = classifies and self.measure == "loss"
        # Not scikit-learn's oob_score_, which averages the predictions of the models
        # before it compares them with the labels.
        total, count = np.zeros(len(labels)), np.zeros(len(labels))
        for model, inside in zip(
            bags.estimators_, bags.estimators_samples_, strict=True
        ):
            outside = np.setdiff1d(rows, inside)
            if len(outside):
                if asks_probability:
                    total[outside] += model.probability(outside)
                else:
                    predicted, own = model.predict(rows[outside]), labels[outside]
                    total[outside] += _correctness(predicted, own, classifies)
                count[outside] += 1
        if not count.any():
            raise ValueError(
                "`n_estimators` must be large enough that some sample is out of bag, "
                f"got {self.n_estimators} for {len(labels)} samples."
            )
        scored = count > 0
        mean = np.divide(total, count, out=np.empty_like(total), where=scored)
        if asks_probability:
            # A probability of 0 would give -inf, which rankings refuse.
            mean[scored] = np.log(np.maximum(mean[scored], np.finfo(mean.dtype).tiny))
        mean[~scored] = mean[scored].mean()
        return mean


class _OfRows(BaseEstimator):
    """An estimator fitted on row numbers, since bagging takes nothing but arrays."""

    def __init__(
        self,
        estimator: BaseEstimator,
        data: ArrayLike | None,
        targets: np.ndarray,
        advance: Callable[..., Any],
    ) -> None:
        self.estimator = estimator
        self.data = data
        self.targets = targets
        self.advance = advance

    def __sklearn_clone__(self) -> "_OfRows":
        # scikit-learn's clone would copy the data for each model.
        return _OfRows(clone(self.estimator), self.data, self.targets, self.advance)

    def fit(self, rows: np.ndarray, y: np.ndarray) -> "_OfRows":
        """Fit the estimator on the rows."""
        # Bagging numbers the classes, which the estimator may know by their names.
        own = rows[:, 0]
        self.estimator.fit(_safe_indexing(self.data, own), self.targets[own])
        self.advance()
        return self

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Predict the rows' targets."""
        return self.estimator.predict(_safe_indexing(self.data, rows[:, 0]))

    def probability(self, rows: np.ndarray) -> np.ndarray:
        """Return the probability of the labels, 0 for one that the model lacks."""
        probabilities = self.estimator.predict_proba(_safe_indexing(self.data, rows))
        is_label = self.targets[rows][:, None] == self.estimator.classes_
        total: np.ndarray = (probabilities * is_label).sum(axis=1, dtype=np.float64)
        return total


def _correctness(predicted: np.ndarray, y: np.ndarray, classifies: bool) -> np.ndarray:
    """Return 1 or 0 for classes, minus the squared error for numbers."""
    if classifies:
        return np.asarray(predicted == y, dtype=np.float64)
    errors = np.asarray(y, dtype=np.float64) - predicted
    return -np.square(errors).reshape(len(errors), -1).mean(axis=1)
