"""Confident learning's quality of labels as a scorer."""

from importlib.util import find_spec
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.utils import check_random_state

from ._checks import check_classifies
from ._refits import unrecorded

_METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
_FILTERS = (
    "prune_by_class",
    "prune_by_noise_rate",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_normalized_margin",
    "low_self_confidence",
)


class ConfidentLearning(BaseEstimator):
    """Score the samples by how far cross-validated probabilities support their label.

    The name ``"confident_learning"`` stands for it; needs the package cleanlab. The
    estimator is fitted anew in each fold, without sample weights, and gives the
    probabilities of the samples left out; cleanlab makes them the label's quality
    between 0 and 1 [1]_. The validation data is not used.

    Parameters
    ----------
    method : {"self_confidence", "normalized_margin", "confidence_weighted_entropy"}, \
            default="self_confidence"
        The quality, as in ``cleanlab.rank.get_label_quality_scores``: above all the
        probability of the given label.
    filter_by : str or None, default=None
        As in ``cleanlab.filter.find_label_issues``, such as ``"prune_by_noise_rate"``:
        the samples that it finds go before all others, their scores 1 lower. None to
        go by the quality alone.
    cv : int, cross-validation generator or iterable, default=5
        The folds; an integer for that many stratified folds drawn at random.
    n_jobs : int or None, default=None
        Number of folds at once, through joblib.
    random_state : int, RandomState instance or None, default=None
        Draws the folds. Pass an int for the same ones each time.

    References
    ----------
    .. [1] C. Northcutt, L. Jiang, I. Chuang, "Confident Learning: Estimating
       Uncertainty in Dataset Labels", JAIR 2021; J. Kuan, J. Mueller,
       "Model-agnostic label quality scoring to detect real-world label errors", ICML
       DataPerf Workshop 2022, for the qualities.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinfluence.scorers import ConfidentLearning
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> scorer = ConfidentLearning(random_state=0)
    >>> int(scorer(LogisticRegression(max_iter=1000), X, y).argmin())
    7
    """

    def __init__(
        self,
        method: str = "self_confidence",
        *,
        filter_by: str | None = None,
        cv: Any = 5,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.method = method
        self.filter_by = filter_by
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    def check_estimator(self, estimator: Any) -> None:
        """Raise an error if there will be no probabilities, or no cleanlab.

        Parameters
        ----------
        estimator : object
            The estimator, fitted or not.

        Raises
        ------
        ValueError
            If `method` or `filter_by` is not one of cleanlab's.
        TypeError
            If it is no classifier with ``predict_proba``.
        ImportError
            If cleanlab is not installed.
        """
        if self.method not in _METHODS:
            raise ValueError(
                f"`method` must be one of {list(_METHODS)}, got {self.method!r}."
            )
        if self.filter_by is not None and self.filter_by not in _FILTERS:
            raise ValueError(
                f"`filter_by` must be None or one of {list(_FILTERS)}, got "
                f"{self.filter_by!r}."
            )
        check_classifies(estimator, "confident_learning")
        if not hasattr(estimator, "predict_proba"):
            raise TypeError(
                "`estimator` must have `predict_proba` for the scorer "
                f"'confident_learning', got {type(estimator).__name__}."
            )
        if find_spec("cleanlab") is None:
            raise ImportError(
                "The scorer 'confident_learning' needs the package cleanlab, which is "
                "not installed: pip install cleanlab."
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
        """Return the quality of each sample's label.

        Parameters
        ----------
        estimator : object
            A classifier; clones of it are fitted.
        X, y : array-like of n_samples rows
            The training samples.
        X_val, y_val, sample_weight_val : object
            Not used.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Qualities in [0, 1], 1 less for samples found by `filter_by`.

        Raises
        ------
        ValueError
            If a class has fewer samples than there are folds.
        """
        self.check_estimator(estimator)
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores

        classes, labels = np.unique(np.asarray(y), return_inverse=True)
        likely = cross_val_predict(
            unrecorded(estimator),
            X,
            y,
            cv=self._folds(classes, labels),
            method="predict_proba",
            n_jobs=self.n_jobs,
        )
        quality = np.asarray(
            get_label_quality_scores(labels, likely, method=self.method),
            dtype=np.float64,
        )
        if self.filter_by is None:
            return quality
        # One process: others would be forked beside torch's threads.
        found = find_label_issues(labels, likely, filter_by=self.filter_by, n_jobs=1)
        return quality - found

    def _folds(self, classes: np.ndarray, labels: np.ndarray) -> Any:
        if not isinstance(self.cv, Integral):
            return self.cv
        counts = np.bincount(labels)
        if counts.min() < self.cv:
            rare = classes[counts.argmin()]
            raise ValueError(
                f"`cv` must not exceed the samples of any class, got {self.cv} folds "
                f"and {counts.min()} samples of {rare!r}. Use fewer folds, or leave "
                "rare classes out."
            )
        rng = check_random_state(self.random_state)
        seed = rng.randint(np.iinfo(np.int32).max)
        return StratifiedKFold(int(self.cv), shuffle=True, random_state=seed)
