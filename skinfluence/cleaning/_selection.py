"""How many of the ranked samples are removed, and which."""

from typing import Any, NamedTuple

import numpy as np

from .._numbers import is_integer, is_real
from ..exceptions import EmptiedClassError
from ._ranking import Ranking

# A class is rare below this share of the mean number of samples, and so much of it may
# go where nothing else is asked for.
_RARE, _OF_RARE = 0.2, 0.2


class Goal(NamedTuple):
    """How many samples are to be chosen.

    Attributes
    ----------
    number : int
        The number.
    largest : int
        The largest number that is considered, which the rounds divide.
    beneficial : bool
        Whether only samples with a negative score are chosen.
    """

    number: int
    largest: int
    beneficial: bool = False


def check_n_remove(
    n_remove: object, n_samples: int, n_ranked: int, name: str = "n_remove"
) -> int:
    """Return a count or a fraction of all samples as a count."""
    if not (is_integer(n_remove) or is_real(n_remove)):
        raise TypeError(
            f"`{name}` must be a count (an integer), a fraction (a float) or 'auto', "
            f"got {n_remove!r}. A tenth of the samples is 0.1."
        )
    if is_integer(n_remove):
        count = int(n_remove)
        if count < 0:
            raise ValueError(f"`{name}` must not be negative, got {count}.")
        if count >= n_samples:
            raise ValueError(
                f"`{name}` must be below the number of samples ({n_samples}), got "
                f"{count}."
            )
    else:
        if not 0 <= float(n_remove) < 1:
            raise ValueError(
                f"`{name}`, a fraction, must be at least 0 and below 1, got "
                f"{n_remove}. A count must be an integer."
            )
        count = round(float(n_remove) * n_samples)
    if count > n_ranked:
        raise ValueError(
            f"`{name}` must not exceed the number of samples that are ranked "
            f"({n_ranked}; the others of the {n_samples} are for validation), got "
            f"{n_remove}. Give validation data as X_val and y_val, or have "
            "all ranked by folds, with cv or validation_fraction=None."
        )
    return count


def beneficial_removals(ranking: Ranking, codes: np.ndarray) -> np.ndarray:
    """Return the samples whose score is surely negative, except the best of a class.

    Their runs, if there are several, leave no doubt about the sign.
    """
    order = ranking.order
    harmful = (ranking.scores < 0) & ~ranking.over_runs.in_doubt
    candidates = order[harmful[order]]
    # In reversed order, the first of a class is the last of it to be removed.
    _, last = np.unique(codes[order[::-1]], return_index=True)
    keep = order[::-1][last]
    return candidates[~np.isin(candidates, keep)]


def is_imbalanced(codes: np.ndarray) -> bool:
    """Return whether a class has less than a third of the mean number of samples."""
    return len(_below(codes, 1 / 3)) > 0


def rare_classes(codes: np.ndarray) -> np.ndarray:
    """Return the classes with less than a fifth of the mean number of samples."""
    return _below(codes, _RARE)


def _below(codes: np.ndarray, share: float) -> np.ndarray:
    """Return the classes with less than a share of the mean number of samples."""
    counts = np.bincount(codes)
    return np.flatnonzero((counts > 0) & (counts < share * len(codes) / len(counts)))


def within_limits(
    order: np.ndarray, codes: np.ndarray, fraction: float | str | None
) -> np.ndarray:
    """Return an order of removal without what would exceed a class's limit.

    Parameters
    ----------
    order : ndarray of int
        Samples in the order of removal.
    codes : ndarray of shape (n_samples,), int
        Class of each sample.
    fraction : float, "auto" or None
        How much of each class may go: ``"auto"`` limits rare ones, None limits none.
    """
    if fraction is None:
        return order
    counts = np.bincount(codes)
    limits = counts.astype(float)
    if isinstance(fraction, str):
        limits[rare_classes(codes)] *= _OF_RARE
    else:
        limits *= fraction
    # The place of each sample within its class, in the order of removal.
    own = codes[order]
    by_class = np.argsort(own, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(own, minlength=len(counts)))])
    place = np.empty(len(order), dtype=np.intp)
    place[by_class] = np.arange(len(order)) - starts[own[by_class]]
    return order[place < np.floor(limits[own])]


def emptied_classes(y: np.ndarray, codes: np.ndarray, left: np.ndarray) -> list[Any]:
    """Return the labels that are not among the classes that are left."""
    gone = np.setdiff1d(codes, left)
    return list(np.unique(y[np.isin(codes, gone)]).tolist())


def check_classes_stay(
    y: np.ndarray, codes: np.ndarray, left: np.ndarray, count: int
) -> None:
    """Refuse to empty a class."""
    emptied = emptied_classes(y, codes, left)
    if emptied:
        raise EmptiedClassError(
            f"`n_remove` must leave samples of every class, but {count} would leave "
            f"none of {', '.join(map(repr, emptied))}. Lower "
            "`n_remove`, use n_remove='auto', which never empties a class, or leave "
            "out rare classes.",
            emptied,
        )
