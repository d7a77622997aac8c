"""How many samples to remove: candidates scored on held-out data, and the choice."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from inspect import signature

import numpy as np

from .._parallel import parallel_calls
from ._data import CleaningData, Validation
from ._recipe import CleaningRecipe
from ._selection import Goal, check_n_remove, emptied_classes
from ._splits import N_FOLDS, class_codes, stratified_folds

FRACTIONS = (0, 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4)
"""None, then doubling at each step."""


@dataclass(frozen=True)
class Fold:
    """Which samples to clean, and which to hold out and score the result on.

    Attributes
    ----------
    rest, held_out : ndarray of int
        Rows of the samples; or of the validation data, of which the rest ranks all of
        the samples.
    of_validation : bool
        Whether they are rows of the validation data.
    """

    rest: np.ndarray
    held_out: np.ndarray
    of_validation: bool = False

    def split(self, data: CleaningData) -> tuple[CleaningData, Validation]:
        """Return the data to clean, and the samples that are held out."""
        if not self.of_validation:
            return data.take(self.rest), data.held_out(self.held_out)
        assert data.validation is not None
        ranking = replace(data, validation=data.validation.take(self.rest))
        return ranking, data.validation.take(self.held_out)


def judged_folds(data: CleaningData, seed: int, classifier: bool) -> Iterator[Fold]:
    """Yield folds of the data.

    Validation data is split if there is any, as the result should be good on such data:
    four fifths rank the samples, one fifth scores. Otherwise the samples are split.
    """
    validation = data.validation
    y = data.y if validation is None else validation.y
    if len(y) < N_FOLDS:
        raise ValueError(
            f"n_remove='auto' needs at least {N_FOLDS} samples for its folds, got "
            f"n_samples={len(y)}."
        )
    groups = data.groups if validation is None else None
    folds = stratified_folds(class_codes(y, classifier), groups, N_FOLDS, seed)
    for number in range(N_FOLDS):
        rest, part = np.flatnonzero(folds != number), np.flatnonzero(folds == number)
        yield Fold(rest, part, validation is not None)


def score_path(
    cleaner: CleaningRecipe,
    data: CleaningData,
    folds: Iterable[Fold],
    n_removes: Sequence[float],
    scoring: Callable[..., float],
    *,
    beneficial: bool = False,
) -> np.ndarray:
    """Return the score on each fold for each number of samples to remove.

    Parameters
    ----------
    cleaner : BaseCleaner
        Ranks and refits.
    data : CleaningData
        All samples.
    folds : iterable of Fold
        The folds; each is ranked once.
    n_removes : sequence of int or float
        Counts and fractions.
    scoring : callable
        ``scoring(estimator, X, y)``, higher is better.
    beneficial : bool
        Whether only samples with a negative score are removed.

    Returns
    -------
    ndarray of shape (n_folds, len(n_removes))
        NaN where a class would be emptied.
    """
    folds = list(folds)
    rows = parallel_calls(
        _score_fold,
        ((cleaner, data, fold, n_removes, scoring, beneficial) for fold in folds),
        cleaner.n_jobs,
        words="Folds, each cleaned with each number",
        unit="fold",
        total=len(folds),
        verbose=cleaner.verbose,
    )
    return np.array(rows, dtype=np.float64)


def choose_column(table: np.ndarray, rule: str) -> int:
    """Return which column of a table of scores a rule chooses.

    Parameters
    ----------
    table : ndarray of shape (n_folds, n_candidates)
        Scores, higher is better; NaN for a candidate that was not possible.
    rule : {"best", "one_standard_error"}
        The first with the best mean, or the first within its standard error.
    """
    # Not nanmean: a number that empties a class in one fold is out.
    means = np.nan_to_num(table.mean(axis=0), nan=-np.inf)
    best = int(means.argmax())
    if rule == "best":
        return best
    error = table[:, best].std(ddof=1) / np.sqrt(len(table))
    return int(np.flatnonzero(means >= means[best] - error)[0])


def _score_fold(
    cleaner: CleaningRecipe,
    data: CleaningData,
    fold: Fold,
    n_removes: Sequence[float],
    scoring: Callable[..., float],
    beneficial: bool,
) -> list[float]:
    data, held_out = fold.split(data)
    n_samples = len(data)
    counts = [check_n_remove(each, n_samples, n_samples) for each in n_removes]
    ranking = cleaner._rank(data, Goal(max(counts), max(counts), beneficial))
    action, codes = cleaner._action(), cleaner._codes(data)
    _, order = cleaner._orders(data, ranking, beneficial)
    weights = held_out.sample_weight
    weighted = weights is not None and _takes_weights(scoring)
    options = {"sample_weight": weights} if weighted else {}
    counts = [min(count, len(order)) for count in counts]

    def score(count: int) -> float:
        chosen = order[:count]
        if emptied_classes(data.y, codes, action.codes_left(codes, ranking, chosen)):
            return np.nan
        cleaned = action.act(cleaner, data, ranking, chosen)
        model = cleaner._refit(cleaned.data, ranking, chosen)
        return float(scoring(model, held_out.X, held_out.y, **options))

    # Equal counts, such as small fractions of few samples, are fitted only once.
    scores = {count: score(count) for count in sorted(set(counts))}
    return [scores[count] for count in counts]


def _takes_weights(scoring: Callable[..., float]) -> bool:
    # scikit-learn's scorers take any keyword and pass it on: only they know whether
    # their metric accepts it.
    accepts = getattr(scoring, "_accept_sample_weight", None)
    return bool(
        accepts() if accepts else "sample_weight" in signature(scoring).parameters
    )
