"""Removing the chosen samples: the action that the others differ from."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..scorers import SGDInfluence
from ._data import CleaningData
from ._ranking import Ranking, Run


class Cleaned(NamedTuple):
    """The result of an action.

    Attributes
    ----------
    data : CleaningData
        The cleaned data.
    support : ndarray of shape (n_samples,), bool
        Mask of the kept samples.
    columns : mapping of str to ndarray of shape (n_samples,)
        What was done to each sample, for ``to_frame``.
    attributes : mapping of str to object
        Further fitted attributes of the cleaner.
    """

    data: CleaningData
    support: np.ndarray
    columns: Mapping[str, np.ndarray]
    attributes: Mapping[str, Any]


class Removal:
    """Removes the samples."""

    by_label = False
    resamples = True
    limited = True  # by `max_class_fraction`
    by_probability = True  # of the labels too, where that is estimated
    n_rounds = 1

    def final(self, estimator: Any) -> Any:
        """Return the final estimator where none is given."""
        return estimator

    def check(self, cleaner: Any) -> None:
        """Refuse parameters that are incompatible with the action."""

    def check_runs(self, runs: Sequence[Run], data: CleaningData) -> None:
        """Refuse runs that the action cannot use, before they are made."""

    def codes_left(
        self, codes: np.ndarray, ranking: Ranking, chosen: np.ndarray
    ) -> np.ndarray:
        """Return the classes of the remaining samples."""
        return np.delete(codes, chosen)

    def ends(self, count: int, n_rounds: int) -> list[int]:
        """Return how many samples are chosen at the end of each round but the last."""
        if 0 < count < n_rounds:
            raise ValueError(
                f"`n_rounds` must not exceed the number of samples to choose ({count}),"
                f" got {n_rounds}. Lower it, or choose more samples."
            )
        return [count * number // n_rounds for number in range(1, n_rounds)]

    def next_round(
        self, data: CleaningData, ranking: Ranking, chosen: np.ndarray
    ) -> tuple[CleaningData, list[Run]]:
        """Return the data and runs that the next round ranks."""
        return data, [run.without(chosen) for run in ranking.runs]

    def check_data(self, cleaner: Any, data: CleaningData) -> None:
        """Refuse data that are incompatible with the action."""

    def act(
        self, cleaner: Any, data: CleaningData, ranking: Ranking, chosen: np.ndarray
    ) -> Cleaned:
        """Return the cleaned data."""
        support = np.ones(len(data), dtype=bool)
        support[chosen] = False
        kept = data.take(np.flatnonzero(support))
        return Cleaned(kept, support, {"removed": ~support}, {})


def check_full_refit(cleaner: Any) -> None:
    """Refuse a final repetition of the run, which can only leave samples out."""
    if cleaner.refit != "full":
        raise ValueError(
            f"`refit` must be 'full' with action={cleaner.action!r}, got "
            f"{cleaner.refit!r}, which repeats a run without some samples."
        )


def check_influence(cleaner: Any) -> None:
    """Refuse any scorer but the influence, and a repetition of the run."""
    scorer = cleaner._scorer()
    if not isinstance(scorer, SGDInfluence):
        raise ValueError(
            f"`scorer` must be 'influence' with action={cleaner.action!r}, got "
            f"{cleaner.scorer!r}: no other scorer estimates the effect of a label or "
            "a weight."
        )
    check_full_refit(cleaner)
