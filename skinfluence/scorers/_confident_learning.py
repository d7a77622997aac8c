"""Confident learning's label quality as a scorer."""

from collections.abc import Iterable
from importlib.util import find_spec
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import BaseCrossValidator, StratifiedKFold, check_cv
from sklearn.utils import _safe_indexing

from .._numbers import check_integer, random_generator
from .._parallel import parallel_calls
from ._base import BaseScorer, ScoringData
from ._checks import (
    check_choice,
    check_classifier,
    check_probabilities,
    is_one_of,
)
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


class ConfidentLearning(BaseScorer, name="confident_learning"):
    """Score the samples by how well cross-validated probabilities support their label.

    Named ``"confident_learning"``; needs the package cleanlab. A clone of the estimator
    is fitted in each fold, without sample weights, and predicts the probabilities of
    the held-out samples; cleanlab turns them into a label quality between 0 and 1,
    which is the score [1]_. The validation data is not used.

    Parameters
    ----------
    method : {"self_confidence", "normalized_margin", "confidence_weighted_entropy"}, \
            default="self_confidence"
        The quality, as in ``cleanlab.rank.get_label_quality_scores``; by default the
        probability of the given label.
    filter_by : str or None, default=None
        As in ``cleanlab.filter.find_label_issues``, such as ``"prune_by_noise_rate"``:
        the samples that it flags score 1 lower, so that they rank before all others.
        None ranks by the quality alone.
    cv : int, cross-validation generator or iterable, default=5
        The folds; an integer is the number of shuffled, stratified folds.
    n_jobs : int or None, default=None
        Number of folds fitted in parallel, through joblib.
    random_state : int, RandomState instance or None, default=None
        Draws the folds. Pass an int for reproducible scores.

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
        cv: int | BaseCrossValidator | Iterable[tuple[np.ndarray, np.ndarray]] = 5,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.method = method
        self.filter_by = filter_by
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    _estimator_checks = (check_classifier, check_probabilities)
    _of_one_label = True
    _required_data = ("X", "y")

    def _check_parameters(self) -> None:
        if isinstance(self.cv, Real):
            check_integer("cv", self.cv, 2)
        check_choice("method", self.method, _METHODS)
        if self.filter_by is not None and not is_one_of(self.filter_by, _FILTERS):
            raise ValueError(
                f"`filter_by` must be None or one of {list(_FILTERS)}, got "
                f"{self.filter_by!r}."
            )

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        if find_spec("cleanlab") is None:
            raise ImportError(
                "The scorer 'confident_learning' needs the package cleanlab, which is "
                "not installed: pip install cleanlab."
            )

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the quality of each sample's label."""
        # An optional dependency.
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores

        classes, probabilities = self._out_of_fold(estimator, data)
        labels = np.searchsorted(classes, np.asarray(data.y))
        quality = np.asarray(
            get_label_quality_scores(labels, probabilities, method=self.method),
            dtype=np.float64,
        )
        if self.filter_by is None:
            return quality
        # In one process: cleanlab would fork, which is unsafe beside torch's threads.
        issues = find_label_issues(
            labels, probabilities, filter_by=self.filter_by, n_jobs=1
        )
        return quality - issues

    def _out_of_fold(
        self, estimator: BaseEstimator, data: ScoringData
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the classes in y, and the samples' probabilities of them."""
        y = np.asarray(data.y)
        classes, labels = np.unique(y, return_inverse=True)
        try:
            cv = check_cv(self._folds(classes, labels), y, classifier=True)
            splits = list(cv.split(data.X, y))
            held_out = np.concatenate([test for _, test in splits])
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"`cv` must split the samples into folds, got {self.cv!r:.200}: {error}"
            ) from error
        if not np.array_equal(np.sort(held_out), np.arange(len(y))):
            raise ValueError(
                "`cv` must hold out every sample exactly once, as KFold does, got "
                f"{len(held_out)} held out for n_samples={len(y)}."
            )
        model = unrecorded(estimator)
        # Not scikit-learn's cross_val_predict: it fits numbers in place of the labels,
        # and the estimator may have been told the labels, even some that y lacks.
        folds = parallel_calls(
            _fold_probabilities,
            ((model, data.X, y, *split) for split in splits),
            self.n_jobs,
            words="Folds",
            unit="fold",
            total=len(splits),
        )
        probabilities = np.zeros((len(y), len(classes)))
        for (known, found), (_, test) in zip(folds, splits, strict=True):
            shared = np.isin(known, classes)
            places = np.ix_(test, np.searchsorted(classes, known[shared]))
            probabilities[places] = found[:, shared]
        return classes, probabilities

    def _folds(
        self, classes: np.ndarray, labels: np.ndarray
    ) -> BaseCrossValidator | Iterable[tuple[np.ndarray, np.ndarray]]:
        if not isinstance(self.cv, Integral):
            return self.cv
        counts = np.bincount(labels)
        if counts.min() < self.cv:
            rare = classes[counts.argmin()]
            raise ValueError(
                "`cv` must not exceed the number of samples of any class, got "
                f"{self.cv} folds and {counts.min()} samples of {rare!r}. Use fewer "
                "folds, or leave rare classes out."
            )
        rng = random_generator(self.random_state)
        seed = rng.randint(np.iinfo(np.int32).max)
        return StratifiedKFold(int(self.cv), shuffle=True, random_state=seed)


def _fold_probabilities(
    model: BaseEstimator,
    X: ArrayLike | None,
    y: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes of the model of a fold, and its probabilities of them."""
    fitted = clone(model).fit(_safe_indexing(X, train), y[train])
    return fitted.classes_, fitted.predict_proba(_safe_indexing(X, test))
