"""The cleaner that chooses how many to remove by cross-validation."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import joblib
import numpy as np
from sklearn.metrics import check_scoring
from sklearn.utils._param_validation import StrOptions

from .._values import check_list
from ..estimators import QueryLike
from ._base import BaseCleaner
from ._checks import SCORING
from ._choosing_n_remove import FRACTIONS, Fold, choose_column, score_path
from ._data import CleaningData
from ._selection import Goal, check_n_remove
from ._splits import cv_splits


class InfluenceCleanerCV(BaseCleaner):
    r"""An :class:`InfluenceCleaner` that chooses how many to remove.

    The same as a grid search over the cleaner's `n_remove`, but each fold is ranked
    once for all numbers. The number that `rule` chooses is used to clean all samples.

    Parameters
    ----------
    estimator : estimator, default=None
        Ranks the samples; an :class:`~skinfluence.SGDInfluenceClassifier` by default.
    n_removes : sequence of int or float
        The numbers to try: counts and fractions of the samples, as in
        :class:`InfluenceCleaner`. By default 0, and 1.25 % to 40 % in factors of 2.
    cv : int, cross-validation generator or iterable, default=5
        The folds on which the final estimators are scored; with `groups`, a number is
        one of folds of whole groups.
    scoring : str or callable, default=None
        How they are scored; by default by their own ``score``.
    rule : {"best", "one_standard_error"}, default="best"
        Which number is chosen: the first with the best mean score, or the first whose
        mean score is within a standard error of the best.
    scorer : str, outlier detector or callable, default="influence"
        The ranking, as in :class:`InfluenceCleaner`.
    action : {"remove", "relabel", "unlabel", "reweight"} or Reweight, default="remove"
        What to do with the samples, as in :class:`InfluenceCleaner`.
    final_estimator : estimator, default=None
        Fitted on the kept samples, to predict; by default a clone of `estimator`.
    validation_fraction : float, default=None
        Fraction of a fold's training samples on which the ranking is validated if no
        validation data is given. None: cross-influence, as in
        :class:`InfluenceCleaner`.
    max_class_fraction : float, "auto" or None, default="auto"
        How much of a class may be removed or relabelled; where the ranking puts more
        first, the next ones take their place, and a warning tells how many were kept.
        ``"auto"``: a fifth of each rare class, one with less than a fifth of the mean
        number of samples. None: all but the last sample.
    n_rounds : int, default=None
        Number of rounds, as in :class:`InfluenceCleaner`; they divide the largest of
        `n_removes`, and the numbers share them.
    n_runs : int, default=1
        Number of runs to average the ranking over, as in :class:`InfluenceCleaner`.
    query : "auto", a named query or callable, default="auto"
        What is measured on each validation sample, as in :class:`InfluenceCleaner`.
    at : "final", "epochs", "path", sequence or mapping, default="epochs"
        Which models of a run are evaluated, for ``scorer="influence"``.
    last_epochs : int, default=None
        Retrace only the last epochs, for ``scorer="influence"``.
    smoothing : None, float or "auto", default=None
        How wide kinks are smoothed on the way back, as in :class:`InfluenceCleaner`.
    refit : "full" or "counterfactual", default="full"
        How the final estimators are made, as in :class:`InfluenceCleaner`.
    output : {"prediction", "representation"}, default="prediction"
        Whether the cleaner is a transformer as well, as in :class:`InfluenceCleaner`.
    memory : str, path or joblib.Memory, default=None
        Where to cache scores, as in :class:`InfluenceCleaner`.
    n_jobs : int, default=None
        Number of folds in parallel, through joblib.
    verbose : int, default=0
        1 for a progress bar over runs or folds.
    random_state : int, RandomState instance or None, default=None
        As in :class:`InfluenceCleaner`.

    Attributes
    ----------
    n_remove_ : int or float
        The chosen number, as given in `n_removes`.
    best_score_ : float
        Its mean score over the folds.
    cv_results_ : dict of str to ndarray
        ``n_remove``, ``mean_test_score``, ``std_test_score`` and
        ``split0_test_score`` and so on, an entry for each number. NaN where a class
        would be emptied.
    influence_ : ndarray of shape (n_samples,), float64
        The samples' scores; NaN for those that were not ranked.
    standard_error_ : ndarray of shape (n_samples,), float64
        Standard errors of the scores, as in :class:`InfluenceCleaner`.
    over_runs_ : ScoresOverRuns
        The scores of each run, as in :class:`InfluenceCleaner`.
    ranking_ : ndarray of shape (n_samples,), int
        The samples in the order of removal.
    removed_indices_ : ndarray of shape (n_removed,), int
        The removed samples, the most harmful first.
    sample_indices_ : ndarray of shape (n_samples - n_removed,), int
        The kept samples, in their original order.
    support_ : ndarray of shape (n_samples,), bool
        Mask of the kept samples.
    n_removed_ : int
        Number of removed samples.
    query_ : str, SampleMeasure, Metric, callable or None
        The scorer's query; None for scorers that have none.
    transition_ : ndarray of shape (n_classes, n_classes), float64, or None
        How the labels seem to be confused, as in :class:`InfluenceCleaner`.
    label_probability_ : ndarray of shape (n_samples,), float64, or None
        How probable each label is to be right, as in :class:`InfluenceCleaner`.
    relabelled_ : DataFrame
        The relabelled samples, with ``action="relabel"``.
    unlabelled_indices_ : ndarray of int
        The samples without a label, with ``action="unlabel"``.
    sample_weight_ : ndarray of shape (n_samples,), float64
        The weights, with ``action="reweight"``.
    final_estimator_ : estimator
        Fitted without the removed samples.
    estimator_ : estimator
        The fitted estimator of the first run: the model before cleaning.
    classes_ : ndarray of shape (n_classes,)
        Labels, if the final estimator is a classifier.
    n_features_in_ : int
        Number of features seen during ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has names.

    See Also
    --------
    InfluenceCleaner : Removes a number that is given.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence.cleaning import InfluenceCleanerCV
    >>> X, y = load_iris(return_X_y=True)
    >>> cleaner = InfluenceCleanerCV(n_removes=[0, 5, 0.1], cv=3, random_state=0)
    >>> cleaner = cleaner.fit(scale(X), y)
    >>> cleaner.n_remove_ in (0, 5, 0.1)
    True
    >>> cleaner.cv_results_["mean_test_score"].shape
    (3,)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseCleaner._parameter_constraints,
        "n_removes": [Sequence, np.ndarray],
        "cv": ["cv_object"],
        "scoring": SCORING,
        "rule": [StrOptions({"best", "one_standard_error"})],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_removes: Sequence[float] | np.ndarray = FRACTIONS,
        cv: Any = 5,
        scoring: str | Callable[..., float] | None = None,
        rule: str = "best",
        scorer: Any = "influence",
        action: str = "remove",
        final_estimator: Any = None,
        validation_fraction: float | None = None,
        max_class_fraction: float | str | None = "auto",
        n_rounds: int | None = None,
        n_runs: int = 1,
        query: QueryLike = "auto",
        at: str | Sequence[int] | Mapping[int, float] = "epochs",
        last_epochs: int | None = None,
        smoothing: float | str | None = None,
        refit: str = "full",
        output: str = "prediction",
        memory: str | os.PathLike[str] | joblib.Memory | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_removes = n_removes
        self.cv = cv
        self.scoring = scoring
        self.rule = rule
        self.scorer = scorer
        self.action = action
        self.final_estimator = final_estimator
        self.validation_fraction = validation_fraction
        self.max_class_fraction = max_class_fraction
        self.n_rounds = n_rounds
        self.n_runs = n_runs
        self.query = query
        self.at = at
        self.last_epochs = last_epochs
        self.smoothing = smoothing
        self.refit = refit
        self.output = output
        self.memory = memory
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def _choose(self, data: CleaningData) -> Goal:
        n_removes = check_list("n_removes", self.n_removes, "counts and fractions")
        if not n_removes:
            raise ValueError("`n_removes` must hold at least one number, got none.")
        counts = [
            check_n_remove(each, len(data), len(data), "n_removes")
            for each in n_removes
        ]
        folds = [
            Fold(train, test)
            for train, test in cv_splits(data, self.cv, data.classification)
        ]
        if self.rule == "one_standard_error" and len(folds) < 2:
            raise ValueError(
                "`cv` must have at least two folds with rule='one_standard_error', got "
                "one. Use more folds, or rule='best'."
            )
        scoring = check_scoring(self, self.scoring)
        table = score_path(self, data, folds, n_removes, scoring)
        means = table.mean(axis=0)
        if np.isnan(means).all():
            raise ValueError(
                "`n_removes` must leave samples of every class in each fold, but none "
                f"of {n_removes} does. Include 0."
            )
        best = choose_column(table, self.rule)
        self.n_remove_, self.best_score_ = n_removes[best], float(means[best])
        self.cv_results_ = {
            "n_remove": np.array(n_removes),
            "mean_test_score": means,
            "std_test_score": table.std(axis=0),
            **{f"split{k}_test_score": row for k, row in enumerate(table)},
        }
        return Goal(counts[best], max(counts))
