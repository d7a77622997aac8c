"""How many of the ranked samples are removed, and which."""

from typing import Any

import numpy as np

from .._numbers import is_integer, is_real
from ._ranking import Ranking


def check_n_remove(
    n_remove: object, n_samples: int, n_ranked: int, name: str = "n_remove"
) -> int:
    """Return a count or a fraction of all samples as a count."""
    if not is_real(n_remove):
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
            f"{n_remove}. Give validation data as X_val and y_val, or use cv."
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
        raise ValueError(
            f"`n_remove` must leave samples of every class, but {count} would leave "
            f"none of {', '.join(map(repr, emptied))}. Lower "
            "`n_remove`, use n_remove='auto', which never empties a class, or leave "
            "out rare classes."
        )
