"""Applying reviewers' decisions instead of a ranking."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_regressor

from ..estimators import ScoresOverRuns
from ..exceptions import DecisionsError
from ._data import CleaningData
from ._decisions import Decisions, read_decisions
from ._ranking import Ranking, with_seed
from ._recipe import CleaningRecipe
from ._removal import Cleaned
from ._selection import emptied_classes


def act_as_decided(
    cleaner: CleaningRecipe, data: CleaningData
) -> tuple[Cleaned, Ranking, np.ndarray]:
    """Return the cleaned data, a ranking without scores, and the removed samples."""
    if data.y.ndim != 1:
        raise ValueError(
            "`y` must be one target for each sample with decisions, got shape "
            f"{data.y.shape}."
        )
    decisions = read_decisions(
        cleaner.decisions, data.X, data.y, regression=is_regressor(cleaner)
    )
    # A decision may turn a whole number into a fraction.
    integers = is_regressor(cleaner) and data.y.dtype.kind in "iub"
    y = data.y.astype(np.float64) if integers else data.y.copy()
    rows = np.fromiter(decisions.relabelled, dtype=np.intp)
    for row, label in decisions.relabelled.items():
        y[row] = label
    support = np.ones(len(data), dtype=bool)
    support[decisions.removed] = False
    if not is_regressor(cleaner):
        _check_classes_stay(data.y, y[support])
    relabelled = pd.DataFrame({"index": rows, "from": data.y[rows], "to": y[rows]})
    cleaned = Cleaned(
        replace(data, y=y).take(np.flatnonzero(support)),
        support,
        {"decision": _words(decisions, len(data)), "removed": ~support},
        {"relabelled_": relabelled},
    )
    unranked = ScoresOverRuns.of(np.full((1, len(data)), np.nan))
    # The same seeds of the run and of the final fit as with a ranking.
    _, final_seed, run_seed = cleaner._seeds()[:3]
    before = None
    if cleaner.refit == "counterfactual":
        run = with_seed(cleaner._estimator(), run_seed)
        before = run.fit(data.X, data.y, **data.params)
    return cleaned, Ranking(unranked, before, (), final_seed), decisions.removed


def refit_as_decided(before: Any, removed: np.ndarray, relabelled: pd.DataFrame) -> Any:
    """Repeat the run before the decisions under them."""
    labels = dict(zip(relabelled["index"], relabelled["to"], strict=True))
    return before.refit_without(removed, relabel=labels)


def _words(decisions: Decisions, n_samples: int) -> np.ndarray:
    words = np.full(n_samples, "", dtype=object)
    words[decisions.kept] = "keep"
    words[decisions.removed] = "remove"
    words[list(decisions.relabelled)] = "relabel"
    return words


def _check_classes_stay(y: np.ndarray, left: np.ndarray) -> None:
    classes, codes = np.unique(y, return_inverse=True)
    emptied = emptied_classes(y, codes, np.searchsorted(classes, left))
    if emptied:
        raise DecisionsError(
            "The decisions must leave samples of every class, but none is left of "
            f"{', '.join(map(repr, emptied))}. Drop the whole class from X and y first."
        )
