"""Scorers side by side, on the same data."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone, is_classifier
from sklearn.metrics import average_precision_score, check_scoring, roc_auc_score
from sklearn.utils import indexable

from .._numbers import check_integer, random_generator
from .._parallel import check_n_jobs, parallel_calls
from .._progress import tracked
from .._values import check_list, check_single
from ..metrics import kendall_tau, removal_curve
from ..scorers import check_scores, get_scorer, named_scorers
from ._data import Samples, check_validation
from ._ranking import with_seed
from ._selection import check_n_remove, emptied_classes
from ._splits import class_codes

Row = dict[str, float]


def compare_scorers(
    estimator: Any,
    X: Samples,
    y: ArrayLike,
    X_val: Samples,
    y_val: ArrayLike,
    scorers: Sequence[Any] | Mapping[str, Any],
    *,
    X_test: Samples | None = None,
    y_test: ArrayLike | None = None,
    truth: ArrayLike | None = None,
    n_remove: Sequence[float] = (0, 0.05, 0.1, 0.2),
    scoring: str | Callable[..., float] | None = None,
    n_seeds: int = 5,
    random_state: int | np.random.RandomState | None = None,
    n_jobs: int | None = None,
) -> pd.DataFrame:
    """Compare scorers: time, agreement, what they find, and the score after removal.

    For each seed the estimator is fitted once, all scorers score that same run, and the
    estimator is fitted again, from the same seed, without the samples that each scorer
    ranks lowest. The standard errors are over the seeds: they reflect the randomness of
    the training and of the scorers, not that of the data.

    Parameters
    ----------
    estimator : estimator
        A scikit-learn classifier or regressor that all the scorers can score with.
    X : array-like or CSR matrix of shape (n_samples, ...)
        Training samples.
    y : array-like of shape (n_samples,)
        Their targets.
    X_val : array-like or CSR matrix of shape (n_val, ...)
        Validation samples, for the scorers.
    y_val : array-like of shape (n_val,)
        Their targets.
    scorers : sequence of scorers, or mapping of str to scorer
        Names, outlier detectors or scorers, as for
        :func:`~skinfluence.scorers.get_scorer`; a mapping gives them names. The others
        are correlated with the first.
    X_test : array-like or CSR matrix of shape (n_test, ...) or None, default=None
        Samples to score the refitted estimators on. Do not pass the validation data:
        scorers that use it would look better than they are.
    y_test : array-like of shape (n_test,) or None, default=None
        Their targets.
    truth : array-like of shape (n_samples,), bool, or None, default=None
        Which training samples are bad, where that is known, such as the mask that
        :func:`~skinfluence.datasets.flip_labels` returns.
    n_remove : sequence of int or float, default=(0, 0.05, 0.1, 0.2)
        How many samples to remove: counts, or fractions of the training samples.
    scoring : str, callable or None, default=None
        As in :func:`sklearn.model_selection.cross_validate`.
    n_seeds : int, default=5
        Number of seeds.
    random_state : int, RandomState instance or None, default=None
        Draws the seeds, which replace all random states of the estimator and of the
        scorers.
    n_jobs : int or None, default=None
        Number of seeds in parallel, through joblib. The seconds are then those of a
        busy machine.

    Returns
    -------
    DataFrame
        A row for each scorer and number of removed samples, with the columns

        - ``scorer`` and ``n_removed``;
        - ``seconds``: time of the scorer, without the first fit;
        - ``tau``: Kendall's rank correlation with the first scorer;
        - with `truth`, ``average_precision`` and ``roc_auc`` of finding the bad
          samples, and ``precision``, the share of bad ones among those removed;
        - with `X_test`, ``score``: the test score after removal; NaN where no sample
          of a class would be left.

        Each is a mean over the seeds, and a column whose name ends in ``_se`` holds its
        standard error. Without `truth` and `X_test` there is one row for each scorer.

    Raises
    ------
    ValueError, TypeError
        If a parameter is not as described, or a scorer cannot score with the
        estimator: all checks come before the first fit.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.cleaning import compare_scorers
    >>> from skinfluence.datasets import flip_labels
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> noisy, flips = flip_labels(y[::2], 0.1, random_state=0)
    >>> table = compare_scorers(
    ...     SGDInfluenceClassifier(max_epochs=5),
    ...     X[::2],
    ...     noisy,
    ...     X[1::2],
    ...     y[1::2],
    ...     ["influence", "loss", "random"],
    ...     truth=flips,
    ...     n_remove=[5],
    ...     n_seeds=2,
    ...     random_state=0,
    ... )
    >>> table["scorer"].tolist()
    ['influence', 'loss', 'random']
    """
    X, labels = indexable(X, np.asarray(y))
    validation = check_validation(X, (X_val, y_val), None, None)
    assert validation is not None
    check_single("scoring", scoring)
    named = {name: get_scorer(s) for name, s in named_scorers(scorers).items()}
    for scorer in named.values():
        getattr(scorer, "check_estimator", lambda _: None)(estimator)
        getattr(scorer, "check_targets", lambda *_: None)(estimator, y)
    if (X_test is None) != (y_test is None):
        raise ValueError("`X_test` and `y_test` must be given together, or neither.")
    check_integer("n_seeds", n_seeds, 1)
    check_n_jobs(n_jobs)
    bad = None if truth is None else _check_truth(truth, len(labels))
    tried = check_list("n_remove", n_remove, "counts and fractions")
    counts = [check_n_remove(each, len(labels), len(labels)) for each in tried]
    judged = bad is not None or X_test is not None
    comparison = _Comparison(
        estimator,
        check_scoring(estimator, scoring),
        X,
        labels,
        (validation.X, validation.y),
        None if X_test is None else (X_test, y_test),
        bad,
        counts if judged else [0],
    )
    seeds = random_generator(random_state).randint(np.iinfo(np.int32).max, size=n_seeds)
    tables = parallel_calls(
        comparison.of_seed,
        ((named, seed) for seed in seeds),
        n_jobs,
        words="Seeds",
        unit="seed",
        total=len(seeds),
    )
    return _summary([name for name in named for _ in comparison.counts], tables)


def _check_truth(truth: ArrayLike, n_samples: int) -> np.ndarray:
    bad = np.asarray(truth)
    if bad.shape != (n_samples,) or bad.dtype != bool or bad.all() or not bad.any():
        raise ValueError(
            f"`truth` must be a mask of the bad samples, bool of shape ({n_samples},), "
            f"with some bad and some not, got {bad.dtype} of shape {bad.shape} with "
            f"{np.count_nonzero(bad)} bad."
        )
    return bad


@dataclass(frozen=True)
class _Comparison:
    """The setting of a comparison."""

    estimator: Any
    scoring: Callable[..., float]
    X: Any
    y: np.ndarray
    validation: tuple[Any, Any]
    test: tuple[Any, Any] | None
    bad: np.ndarray | None
    counts: Sequence[int]

    def of_seed(self, scorers: Mapping[str, Any], seed: int) -> list[Row]:
        """Return the rows of all scorers for a seed."""
        # The refits start from the same seed, so a gain is not that of another seed.
        fresh = with_seed(self.estimator, seed, always=True)
        fitted = clone(fresh).fit(self.X, self.y)
        first, rows = None, []
        for each in tracked([*scorers.values()], "Scorers", "scorer"):
            scorer = with_seed(each, seed, always=True)
            start = time.perf_counter()
            scores = scorer(fitted, self.X, self.y, *self.validation)
            seconds = time.perf_counter() - start
            scores = check_scores(scores, len(self.y))
            first = scores if first is None else first
            common = {"seconds": seconds, "tau": kendall_tau(first, scores)}
            common.update(self._found(scores))
            for row in self._removals(fresh, fitted, scores):
                rows.append({"n_removed": row.pop("n_removed"), **common, **row})
        return rows

    def _found(self, scores: np.ndarray) -> Row:
        """Return how well the scores separate the bad samples from the others."""
        if self.bad is None:
            return {}
        return {
            "average_precision": float(average_precision_score(self.bad, -scores)),
            "roc_auc": float(roc_auc_score(self.bad, -scores)),
        }

    def _removals(self, fresh: Any, fitted: Any, scores: np.ndarray) -> Iterator[Row]:
        """Yield the result of removing each number of samples."""
        order = np.argsort(scores, kind="stable")
        codes = class_codes(self.y, is_classifier(fresh))
        for count in self.counts:
            removed = order[:count]
            row: Row = {"n_removed": count}
            if self.bad is not None:
                row["precision"] = self.bad[removed].mean() if count else np.nan
            if self.test is not None:
                possible = not emptied_classes(self.y, codes, np.delete(codes, removed))
                row["score"] = (
                    self._score(fresh, fitted, scores, count) if possible else np.nan
                )
            yield row

    def _score(self, fresh: Any, fitted: Any, scores: np.ndarray, count: int) -> float:
        assert self.test is not None
        if count == 0:
            return float(self.scoring(fitted, *self.test))
        curve = removal_curve(
            fresh,
            scores,
            self.X,
            self.y,
            *self.test,
            counts=[count],
            scoring=self.scoring,
        )
        return float(curve["score"].iloc[0])


def _summary(names: Sequence[str], tables: Sequence[Sequence[Row]]) -> pd.DataFrame:
    """Return the means and standard errors of the rows over the seeds."""
    frames = [pd.DataFrame(rows) for rows in tables]
    values = np.stack([frame.to_numpy(dtype=np.float64) for frame in frames])
    mean = values.mean(axis=0)
    error = np.full_like(mean, np.nan)
    if len(values) > 1:
        error = values.std(axis=0, ddof=1) / len(values) ** 0.5
    summary = pd.DataFrame({"scorer": names, "n_removed": frames[0]["n_removed"]})
    for place, column in enumerate(frames[0]):
        if column != "n_removed":
            summary[column] = mean[:, place]
            summary[f"{column}_se"] = error[:, place]
    return summary
