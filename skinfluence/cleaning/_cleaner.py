"""The cleaner."""

import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar

import joblib
import numpy as np
import pandas as pd
from sklearn.metrics import check_scoring

from ..estimators import QueryLike
from ._applying_decisions import act_as_decided, refit_as_decided
from ._base import BaseCleaner
from ._checks import SCORING
from ._choosing_n_remove import FRACTIONS, choose_column, judged_folds, score_path
from ._data import CleaningData
from ._ranking import Ranking
from ._removal import Cleaned
from ._selection import Goal, check_n_remove


class InfluenceCleaner(BaseCleaner):
    r"""Rank the training samples, remove or correct the most harmful, and refit.

    `estimator` is trained and recorded, its training is retraced to estimate for each
    sample how the validation loss would change without it [1]_, and the samples with
    the lowest estimates are removed before the final fit, or, by another `action`,
    given other labels or lower weights. Where samples are held out of the training
    data, models that were not trained on a sample also tell how probable its label is
    to be right, and the order of removal is that of the mean of both ranks.

    By default it predicts like any classifier or regressor, as the last step of a
    scikit-learn Pipeline. In imbalanced-learn's Pipeline it can precede another
    estimator, through ``fit_resample``.

    Parameters
    ----------
    estimator : estimator, default=None
        Ranks the samples: an :class:`~skinfluence.SGDInfluenceClassifier` (the
        default) or :class:`~skinfluence.SGDInfluenceRegressor`. It is cloned.
    n_remove : int, float or "auto", default=0.05
        How many samples to remove or relabel, or by how much to lower the weights in
        total: a count, or a fraction of all samples. Exactly this number is removed.
        ``"auto"`` tries fractions from 0 to 0.4 in five-fold cross-validation and takes
        the smallest whose score (`scoring`) is within a standard error of
        the best. Then only samples with a negative estimate are removed, and never a
        whole class; with several runs or folds, only those whose estimate is negative
        without doubt (:attr:`~skinfluence.estimators.ScoresOverRuns.in_doubt`). The
        folds are those of the validation data if it is given, else those of the
        samples.
    scorer : str, outlier detector or callable, default="influence"
        The ranking: the name of one of :mod:`skinfluence.scorers`, such as
        ``"influence"`` or ``"loss"``, any scikit-learn outlier detector, or a
        :class:`~skinfluence.scorers.Scorer`.
    action : {"remove", "relabel", "unlabel", "reweight"} or Reweight, default="remove"
        What to do with the samples; ``"relabel"`` and ``"reweight"`` need
        ``scorer="influence"``.
        ``"relabel"``: those with the most to gain get the label, of those in y, with
        the lowest estimate of
        :meth:`~skinfluence.SGDInfluenceClassifier.label_influence`. ``"unlabel"``: the
        samples lose their label (-1) and stay for the final estimator, one of
        :mod:`sklearn.semi_supervised`: a ``SelfTrainingClassifier`` around `estimator`
        by default. ``"reweight"``: the
        weights are lowered by `n_rounds` projected steps against the metagradient, the
        derivative of the validation loss in the weights, each after a run under the
        weights so far; each stays at least 0.01, and they fall by at most `n_remove` in
        total. A :class:`~skinfluence.cleaning.Reweight` tells how.
    decisions : str, path or DataFrame, default=None
        Decisions of reviewers about the samples: a file saved from an
        :class:`~skinfluence.inspection.AuditReport`, or a table as in
        :func:`~skinfluence.cleaning.read_decisions`. Exactly these samples are removed
        or relabelled. Nothing is ranked: `n_remove`, `scorer` and the other parameters
        of the ranking are ignored.
    final_estimator : estimator, default=None
        Fitted on the kept samples, to predict; by default a clone of `estimator`, or
        self-training around it (``action="unlabel"``).
    validation_fraction : float, default=None
        Stratified fraction of the samples that is held out for validation if no
        validation data is given: a single run, but these samples are not ranked, and
        always kept. With `groups`, whole groups are held out. None: all samples are
        ranked, by cross-influence with five stratified random folds; with
        ``refit="counterfactual"``, which repeats one run, a fifth is held out.
    max_class_fraction : float, "auto" or None, default="auto"
        How much of a class may be removed or relabelled; where the ranking puts more
        first, the next ones take their place, and a warning tells how many were kept.
        ``"auto"``: a fifth of each rare class, one with less than a fifth of the mean
        number of samples. None: all but the last sample. Rows of several labels are of
        no class: it must be "auto" or None then, and limits nothing.
    cv : int, cross-validation generator or iterable, default=None
        Folds of the cross-influence, in place of those: each sample is scored by the
        models that were trained on it, each on its held-out fold, and the scores are
        averaged. With `groups`, a number is one of folds of whole groups.
    n_rounds : int, default=None
        Number of rounds: each removes or relabels its part of the samples, trains on
        the result, and ranks again, as the estimates hold for the data they were made
        on. Each costs as much as the first. ``n_remove="auto"`` divides its largest
        number into rounds, and cleans the folds and then all samples by the same steps.
        With ``action="reweight"`` the number of steps. None: a single round, or five
        steps.
    n_runs : int, default=1
        Number of runs to average over, each with its own random states: other initial
        weights and batches. Each costs a training and a retrace for every fold.
    query : "auto", a named query or callable, default="auto"
        What is measured on each validation sample, for scorers given by name that have
        a query (refused with any other), as in the estimator's ``influence``.
        ``"auto"`` is ``"loss"`` for given validation data, and ``"error"`` for held-out
        samples, whose labels are as noisy as the others; it is ``"loss"`` if there are
        no class probabilities. If a class has less than a third of the mean number of
        samples, and the estimator weights no
        classes, it is ``"balanced_loss"`` or ``"balanced_error"``. Otherwise, for
        held-out samples with 50 of each class, five more fits estimate how the labels
        are confused (:func:`~skinfluence.queries.estimate_transition`; in each fold
        too, where folds choose `n_remove`) and how probable each is to be right. If a
        class is mistaken more often than another, by a fifth of its samples at least,
        the expected error is corrected for it
        (:func:`~skinfluence.queries.corrected_error`). ``"corrected_error"`` asks for
        this for smaller differences too, and is refused where there can be no estimate.
        With any other query nothing is estimated, and samples are ranked by their
        scores alone.
    scoring : str or callable, default=None
        What ``n_remove="auto"`` judges the numbers by. By default the final estimator's
        own ``score``, or ``"balanced_accuracy"`` if a class is that small or the
        estimator weights the classes.
    at : "final", "epochs", "path", sequence or mapping, default="epochs"
        Which models of the run are evaluated, for ``scorer="influence"``: on noisy
        labels ``"path"`` finds most, on clean data ``"final"`` does least harm, and
        ``"epochs"`` is a compromise.
    last_epochs : int, default=None
        Retrace only the last epochs, for ``scorer="influence"``.
    smoothing : None, float or "auto", default=None
        How wide kinks, such as ReLU's, are smoothed on the way back, as in the
        estimator's ``influence``, for scorers given by name that retrace: refused with
        any other.
    refit : "full" or "counterfactual", default="full"
        ``"full"`` fits a clone of the final estimator on the kept samples.
        ``"counterfactual"`` repeats the (first) recorded run without the removed
        samples, the protocol of [1]_: the gain may then be specific to that run's
        batches. Samples held out for validation are not trained on. With `decisions`
        `estimator` is fitted on all samples first, and this run is repeated under them.
    output : {"prediction", "representation"}, default="prediction"
        ``"representation"`` makes the cleaner a transformer as well, whose output is
        the last hidden layer of the cleaned network; it then does not resample.
    memory : str, path or joblib.Memory, default=None
        Where to cache scores: a ranking of the same data with the same parameters is
        computed once, for all values of `n_remove` and in all processes. The code of
        your own functions and classes counts; installed packages count by name. A path
        is best: a ``joblib.Memory`` pickles, and what can be exchanged there runs code.
    n_jobs : int, default=None
        Number of runs (or, for ``"auto"``, of folds) in parallel, through joblib.
    verbose : int, default=0
        1 for a progress bar over runs or folds.
    random_state : int, RandomState instance or None, default=None
        Determines the split, and the random states of `estimator`, `scorer` and
        `final_estimator` where these are None (in further runs, always). With `memory`,
        None means 0, so that a cached ranking is found again.

    Attributes
    ----------
    influence_ : ndarray of shape (n_samples,), float64
        The samples' scores. For ``scorer="influence"`` the estimated change of the mean
        validation loss (or error: `query_`) without the sample: **negative is
        harmful**. With ``action="relabel"`` the lowest estimated change under any
        label. With several rounds, that of the round in which the sample was chosen,
        or of the last. NaN for samples that were not ranked (with `decisions`, all).
    standard_error_ : ndarray of shape (n_samples,), float64
        Standard error of that score over the runs and folds that used the sample; NaN
        where fewer than two did.
    over_runs_ : ScoresOverRuns
        The scores of each run, with their mean, its standard error and the share that
        agree in sign; see :class:`~skinfluence.estimators.ScoresOverRuns`. Of three
        runs or more, one whose scores are more than ten times as large as those of most
        others, and further off than these differ, is left out, with a warning: its
        derivative grew without bounds.
    ranking_ : ndarray of shape (n_samples,), int
        The samples in the order of removal: by their scores, or by the mean of the
        ranks of these and of `label_probability_`.
    removed_indices_ : ndarray of shape (n_removed,), int
        The removed samples, the most harmful first.
    sample_indices_ : ndarray of shape (n_samples - n_removed,), int
        The kept samples, in their original order.
    support_ : ndarray of shape (n_samples,), bool
        Mask of the kept samples.
    n_removed_ : int
        Number of removed samples.
    query_ : str, SampleMeasure, Metric, callable or None
        The scorer's query; None for scorers that have none. Not set with `decisions`.
    transition_ : ndarray of shape (n_classes, n_classes), float64, or None
        How the labels seem to be confused, a row for each right class and a column for
        each label, if `query` has it estimated. Not set with `decisions`.
    label_probability_ : ndarray of shape (n_samples,), float64, or None
        How probable each sample's label is to be right, by the mean probabilities over
        the epochs of models that were not trained on the sample, and by Bayes' rule
        where the query is corrected. None where nothing is estimated, for
        ``action="relabel"`` and ``"reweight"``; NaN for samples of weight 0. Not set
        with `decisions`.
    relabelled_ : DataFrame
        With ``action="relabel"`` the columns ``index`` (row of the sample), ``from``,
        ``to`` and ``gain``, the estimated fall of the mean validation loss; largest
        gain first. Samples whose given label is the best are not included. Where
        samples have several labels a column ``label`` tells which was toggled. With
        `decisions` the samples that were relabelled, without a gain.
    unlabelled_indices_ : ndarray of int
        With ``action="unlabel"`` the samples without a label, the most harmful first.
    sample_weight_ : ndarray of shape (n_samples,), float64
        With ``action="reweight"`` the weights, from 0.01 to 1.
    final_estimator_ : estimator
        Fitted without the removed samples.
    estimator_ : estimator
        The fitted estimator of the first run, with its trajectory: the model before
        cleaning. With `decisions` only if ``refit="counterfactual"`` has made one.
    classes_ : ndarray of shape (n_classes,)
        Labels, if the final estimator is a classifier.
    n_features_in_ : int
        Number of features seen during ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has names.

    See Also
    --------
    InfluenceCleanerCV : Chooses the number to remove by cross-validation.

    References
    ----------
    .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained with
       SGD", NeurIPS 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skinfluence.cleaning import InfluenceCleaner
    >>> from skinfluence.datasets import flip_labels
    >>> X, y = load_iris(return_X_y=True)
    >>> y_noisy, flipped = flip_labels(y, 0.1, random_state=0)
    >>> cleaner = InfluenceCleaner(n_remove=10, random_state=0)
    >>> pipeline = make_pipeline(StandardScaler(), cleaner).fit(X, y_noisy)
    >>> cleaner.removed_indices_.shape
    (10,)
    >>> int(flipped[cleaner.removed_indices_].sum())
    9
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseCleaner._parameter_constraints,
        "n_remove": [object],  # check_n_remove says more
        "cv": ["cv_object"],
        "scoring": SCORING,
        "decisions": [str, os.PathLike, pd.DataFrame, None],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_remove: float | str = 0.05,
        scorer: Any = "influence",
        action: str = "remove",
        decisions: str | os.PathLike[str] | pd.DataFrame | None = None,
        final_estimator: Any = None,
        validation_fraction: float | None = None,
        max_class_fraction: float | str | None = "auto",
        cv: Any = None,
        n_rounds: int | None = None,
        n_runs: int = 1,
        query: QueryLike = "auto",
        scoring: str | Callable[..., float] | None = None,
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
        self.n_remove = n_remove
        self.scorer = scorer
        self.action = action
        self.decisions = decisions
        self.final_estimator = final_estimator
        self.validation_fraction = validation_fraction
        self.max_class_fraction = max_class_fraction
        self.cv = cv
        self.n_rounds = n_rounds
        self.n_runs = n_runs
        self.query = query
        self.scoring = scoring
        self.at = at
        self.last_epochs = last_epochs
        self.smoothing = smoothing
        self.refit = refit
        self.output = output
        self.memory = memory
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def _ranking_cv(self) -> Any:
        return self.cv

    def _act(self, data: CleaningData) -> tuple[Cleaned, Ranking, np.ndarray]:
        if self.decisions is None:
            return super()._act(data)
        return act_as_decided(self, data)

    def _refit(self, data: CleaningData, ranking: Ranking, chosen: np.ndarray) -> Any:
        if self.decisions is None or self.refit == "full":
            return super()._refit(data, ranking, chosen)
        return refit_as_decided(ranking.estimator, chosen, self.relabelled_)

    def _choose(self, data: CleaningData) -> Goal:
        if not (isinstance(self.n_remove, str) and self.n_remove == "auto"):
            count = check_n_remove(self.n_remove, len(data), len(data))
            return Goal(count, count)
        if not (
            self.cv is None
            or isinstance(self.cv, Integral)
            or hasattr(self.cv, "split")
        ):
            raise ValueError(
                "`cv` must be a number of folds or a splitter with n_remove='auto', "
                "which splits the samples first, got fixed splits of all samples."
            )
        folds = judged_folds(data, self._seeds()[0], data.classification)
        uneven = self._has_small_class(data) or self._weights_classes()
        name = "balanced_accuracy" if uneven else None
        scoring = check_scoring(self, self.scoring or name)
        table = score_path(self, data, folds, FRACTIONS, scoring, beneficial=True)
        counts = [check_n_remove(each, len(data), len(data)) for each in FRACTIONS]
        chosen = counts[choose_column(table, "one_standard_error")]
        return Goal(chosen, max(counts), beneficial=True)
