"""The ranking: the mean scores of recorded runs, and how far they agree.

Given validation data, cross-influence and several seeds all become a list of runs. Each
is fitted and scored independently, in any process, and cached with `memory`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata
from sklearn.base import clone
from torch import get_num_threads

from .._cache import Cache, cache_of
from .._parallel import parallel_calls
from .._warnings import warn_caller
from ..estimators import ScoresOverRuns
from ..exceptions import InfluenceReliabilityWarning
from ..scorers import check_scores
from ..trajectory import on_threads
from ._data import CleaningData, Validation
from ._splits import Split

# How much larger scores are that have exploded: so many times, and so many times as far
# from the usual size, by its logarithm, as those of half of the runs are.
_EXPLODED, _BEYOND_SPREAD = 10, 5


class Run(NamedTuple):
    """A training run whose samples are scored.

    Attributes
    ----------
    estimator : object
        The unfitted estimator, its random states set.
    scorer : callable
        The scorer, its random states set.
    train : ndarray of int
        The rows trained on.
    validation : ndarray of int, or None
        The rows to validate on; None for the validation data that was given.
    by_label : bool
        Whether every label of every sample is scored.
    """

    estimator: Any
    scorer: Any
    train: np.ndarray
    validation: np.ndarray | None
    by_label: bool = False

    def without(self, rows: np.ndarray) -> "Run":
        """Return the run that trains without some samples.

        They still validate. Wrong labels there only scale the expected error, as long
        as nothing chooses among them: without the suspects of one class, each round
        would find more of this class to be harmful.
        """
        return self._replace(train=np.setdiff1d(self.train, rows))


class Ranking(NamedTuple):
    """The scores of the runs.

    Attributes
    ----------
    over_runs : ScoresOverRuns
        The score of each sample in each of the runs, and their mean.
    estimator : object
        The fitted estimator of the first run.
    runs : sequence of Run
        The runs.
    seed : int
        Seed of the final fit.
    labels : ndarray of shape (n_samples,), int, or None
        Index of the label that gives a sample its score, if every label is scored.
    first : sequence of int
        The samples that were chosen in earlier rounds, in their order.
    transition : ndarray of shape (n_classes, n_classes), or None
        How the labels seem to be confused, if the query depends on it.
    label_probability : ndarray of shape (n_samples,), or None
        How probable each sample's label is to be right, if that is estimated: NaN for
        samples that take no part.
    """

    over_runs: ScoresOverRuns
    estimator: Any
    runs: Sequence[Run]
    seed: int
    labels: np.ndarray | None = None
    first: Sequence[int] | np.ndarray = ()
    transition: np.ndarray | None = None
    label_probability: np.ndarray | None = None

    @classmethod
    def of(
        cls, over_runs: ScoresOverRuns, estimator: Any, runs: Sequence[Run], seed: int
    ) -> "Ranking":
        """Make a ranking of scores, or of those under the best label of each sample."""
        if over_runs.mean.ndim == 1:
            return cls(over_runs, estimator, runs, seed)
        # Samples that were not ranked are NaN under every label.
        labels = over_runs.mean.argmin(axis=1)
        best = over_runs.scores[:, np.arange(len(labels)), labels]
        return cls(ScoresOverRuns.of(best), estimator, runs, seed, labels)

    def after(self, earlier: "Ranking", chosen: np.ndarray) -> "Ranking":
        """Return this ranking with the samples that were chosen before it.

        They come first, with the scores and labels that they were chosen by.
        """
        scores = self.over_runs.scores.copy()
        scores[:, chosen] = earlier.over_runs.scores[:, chosen]
        labels = self.labels
        if labels is not None and earlier.labels is not None:
            labels = labels.copy()
            labels[chosen] = earlier.labels[chosen]
        return earlier._replace(
            over_runs=ScoresOverRuns.of(scores), labels=labels, first=chosen
        )

    @property
    def scores(self) -> np.ndarray:
        """Mean score of each sample over the runs that used it; NaN if none did."""
        return self.over_runs.mean

    @property
    def train(self) -> np.ndarray:
        """The rows that the first run was trained on."""
        return self.runs[0].train

    @property
    def order(self) -> np.ndarray:
        """The samples in the order of removal; those without a score come last.

        By the mean of two ranks, if there is a second one: a sample harms, and its
        label is probably wrong. Those that have only a score come after those that have
        both. Of equal ranks the more harmful sample comes first.
        """
        values = [self.scores]
        if self.label_probability is not None:
            values.append(self.label_probability)
        ranked = ~np.isnan(np.sum(values, axis=0))
        ranks = np.full(len(self.scores), np.nan)
        ranks[ranked] = sum(rankdata(each[ranked]) for each in values)
        order = np.lexsort((self.scores, ranks))
        first = np.asarray(self.first, dtype=order.dtype)
        return np.concatenate([first, order[~np.isin(order, first)]])


def plan_runs(
    estimator: Any,
    scorer: Any,
    splits: Sequence[Split],
    seeds: Sequence[int],
    *,
    by_label: bool = False,
) -> list[Run]:
    """Return a run for each split and seed.

    With the first seed, random states that the user has set are kept.
    """
    return [
        Run(
            with_seed(estimator, seed, always=number > 0),
            with_seed(scorer, seed, always=number > 0),
            train,
            validation,
            by_label,
        )
        for number, seed in enumerate(seeds)
        for train, validation in splits
    ]


def are_emptied(
    before: Sequence[Run], after: Sequence[Run], old: np.ndarray, new: np.ndarray
) -> bool:
    """Return whether a run no longer trains on one of its classes.

    `old` and `new` are the classes of all samples, before and after a round.
    """
    return any(
        len(np.setdiff1d(old[run.train], new[rest.train]))
        for run, rest in zip(before, after, strict=True)
    )


def with_seed(estimator: Any, seed: int, *, always: bool = False) -> Any:
    """Return a copy whose random states come from `seed` where they are None.

    With `always`, also where they are not.
    """
    if not hasattr(estimator, "get_params"):
        return estimator
    copy = clone(estimator)
    states = {
        name: value
        for name, value in copy.get_params().items()
        if name == "random_state" or name.endswith("__random_state")
    }
    # One draw for each name, so that setting one state does not change the others.
    rng = np.random.RandomState(seed)
    fresh = {name: rng.randint(np.iinfo(np.int32).max) for name in sorted(states)}
    copy.set_params(
        **{name: fresh[name] for name in states if always or states[name] is None}
    )
    return copy


def score_runs(
    runs: Sequence[Run],
    data: CleaningData,
    memory: Any,
    n_jobs: int | None,
    verbose: int,
    first: Any = None,
) -> ScoresOverRuns:
    """Return the scores over the runs; `first` is the first one's fitted estimator."""
    parts = over_runs(score_run, runs, data, memory, n_jobs, verbose, first)
    scores = np.full((len(runs), len(data), *parts[0].shape[1:]), np.nan)
    for own, run, part in zip(scores, runs, parts, strict=True):
        own[run.train] = part
    return ScoresOverRuns.of(without_exploded(scores))


def without_exploded(scores: np.ndarray) -> np.ndarray:
    """Leave out runs whose scores are far larger than those of most others.

    On its way back through a rough run a derivative can grow without bounds. A mean
    with it would be the score of this run alone.
    """
    # Labels that a run does not know have an infinite score.
    finite = np.where(np.isfinite(scores), np.abs(scores), np.nan)
    sizes = np.nanmedian(finite.reshape(len(scores), -1), axis=1)
    # Of two runs neither is the usual one, and where most scores are 0 none is large.
    if len(scores) < 3 or not np.median(sizes):
        return scores
    # Where a few samples validate each run, all sizes differ by their losses.
    logs = np.log(np.maximum(sizes, np.finfo(np.float64).tiny))
    beyond = logs - np.median(logs)
    spread = np.median(np.abs(beyond))
    exploded = beyond > max(np.log(_EXPLODED), _BEYOND_SPREAD * spread)
    if not exploded.any():
        return scores
    warn_caller(
        f"In {exploded.sum()} of the {len(scores)} runs the scores are more than "
        f"{_EXPLODED} times as large as in most of them, as happens where a derivative "
        "grows without bounds on its way back. These runs are left out of the mean. "
        "What helps: fewer epochs, a smaller learning rate, a smooth activation, or "
        "clipped gradients.",
        InfluenceReliabilityWarning,
    )
    return np.where(exploded.reshape(-1, *[1] * (scores.ndim - 1)), np.nan, scores)


def over_runs(
    function: Callable[..., np.ndarray],
    runs: Sequence[Run],
    data: CleaningData,
    memory: Any,
    n_jobs: int | None,
    verbose: int,
    first: Any = None,
    also: tuple[Any, ...] = (),
    words: str = "Runs",
) -> list[np.ndarray]:
    """Return ``function(key, run, data, fitted, n_threads, *also)`` of each run.

    `words` are those of the progress bar.
    """
    cache = cache_of(memory)
    content = _content(cache, data)
    n_threads = get_num_threads()

    def call(run: Run, fitted: Any = None) -> tuple[Any, ...]:
        key = cache.key(content, run, *also)
        return function, key, run, data, fitted, n_threads, *also

    # What is fitted already need not travel to another process.
    parts = [] if first is None else [cache.call(*call(runs[0], first))]
    left = runs[len(parts) :]
    parts += parallel_calls(
        cache.call,
        map(call, left),
        n_jobs,
        words="Further runs" if parts else words,
        unit="run",
        total=len(left),
        verbose=verbose,
    )
    return parts


def _content(cache: Cache, data: CleaningData) -> str:
    """Return the key of the data that a ranking depends on."""
    return cache.key(data.X, data.y, data.params, data.validation, data.y_held_out)


def fit_run(run: Run, data: CleaningData) -> Any:
    """Return the run's estimator, fitted."""
    train = data.take(run.train)
    return clone(run.estimator).fit(train.X, train.y, **train.params)


def validation_of(run: Run, data: CleaningData) -> Validation:
    """Return the samples that validate a run."""
    if run.validation is not None:
        return data.held_out(run.validation)
    assert data.validation is not None
    return data.validation


def score_run(
    key: str, run: Run, data: CleaningData, fitted: Any, n_threads: int
) -> np.ndarray:
    """Return the scores of a run's samples; the cache identifies them by `key`.

    Without `fitted`, the estimator is fitted first.
    """
    # joblib's processes have fewer threads, and their number changes the last bits.
    with on_threads(n_threads):
        return _score_run(run, data, fit_run(run, data) if fitted is None else fitted)


def _score_run(run: Run, data: CleaningData, estimator: Any) -> np.ndarray:
    train, validation = data.take(run.train), validation_of(run, data)
    scores = scores_of(run, estimator, train, validation, run.by_label)
    if not run.by_label:
        return check_scores(scores, len(train))
    if data.y.ndim > 1:
        check_scores(scores.min(axis=1), len(train))
        return scores
    classes = np.unique(data.y)
    # A run cannot propose a label that it does not know, and is not to propose one that
    # no sample has, though the estimator may have been told of it.
    known = np.isin(estimator.classes_, classes)
    label_scores = np.full((len(train), len(classes)), np.inf)
    columns = np.searchsorted(classes, estimator.classes_[known])
    label_scores[:, columns] = scores[:, known]
    # Of right labels, none may have a better one: their scores differ still.
    check_scores(np.ptp(scores[:, known], axis=1), len(train))
    return label_scores


def scores_of(
    run: Run,
    estimator: Any,
    train: CleaningData,
    validation: Validation,
    by_label: bool = False,
) -> np.ndarray:
    """Return the scores of a fitted run's samples, as its scorer gives them."""
    weights = validation.sample_weight
    options = {} if weights is None else {"sample_weight_val": weights}
    score = run.scorer.by_label if by_label else run.scorer
    found: np.ndarray = score(
        estimator, train.X, train.y, validation.X, validation.y, **options
    )
    return found
