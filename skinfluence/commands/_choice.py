"""How many rows to remove, and which."""

import math
from typing import Any

import numpy as np
from sklearn.base import clone

from ..cleaning import InfluenceCleaner, InfluenceCleanerCV
from ..exceptions import EmptiedClassError, TableError
from ._choices import CLASSIFICATION
from ._cleaning import Cleaning
from ._judge import measure_name, minus, signed
from ._problem import Folds, Problem
from ._tables import quoted

AT = "path"
"""Query all epochs: early models identify wrong labels best."""

_NOISE_FITS = 5

FRACTIONS = (0.0, 0.0125, 0.025, 0.05, 0.1, 0.2)


def n_choice_fits(
    problem: Problem, candidates: int, folds: Folds, n_rounds: int
) -> int:
    """Return how many models the choice trains at most."""
    # In each fold one per round and one per candidate; the search then ranks and refits
    # once; and the ranking of all rows takes a model per fold and round.
    fits = len(folds) * (n_rounds + candidates) + n_rounds + 1 + len(folds) * n_rounds
    # Each of these rankings, if by labels that are held out, estimates their noise.
    held_out = problem.valid_table is None and problem.target.task == CLASSIFICATION
    return fits + (len(folds) + 2) * _NOISE_FITS * held_out


def check_rounds(n_rounds: int, n_remove: float | str, folds: Folds) -> None:
    """Refuse more rounds than the rows that are removed from a fold's training rows."""
    n_rows = sum(len(held_out) for _, held_out in folds)
    train = min(len(rows) for rows, _ in folds)
    most = round(_tried(n_remove, n_rows)[-1] * train)
    if 0 < most < n_rounds:
        raise TableError(
            f"--n-rounds must be at most {most:,}, since each round removes a row at "
            f"least, got {n_rounds:,}. (Of the {train:,} rows outside of each fold "
            f"{most:,} are removed at most.)"
        )


def as_count(n_remove: float, n_rows: int) -> int:
    """Return a count or a fraction of the rows as a count."""
    return n_remove if isinstance(n_remove, int) else round(n_remove * n_rows)


def choose(
    problem: Problem, model: Any, n_remove: float | str, folds: Folds, n_rounds: int
) -> tuple[Cleaning, list[str]]:
    """Return what to remove, and lines that explain the choice.

    Each number is tried on every fold: the training rows of the fold are ranked and
    cleaned, and the refitted model is scored on its held-out rows.
    """
    n_rows = len(problem.target.y)
    tried = _tried(n_remove, n_rows)
    search = InfluenceCleanerCV(
        model,
        n_removes=list(tried),
        cv=folds,
        rule="one_standard_error",
        validation_fraction=0.2,
        n_rounds=n_rounds,
        at=AT,
        final_estimator=clone(model).set_params(record=None),
        random_state=model.random_state,
    ).fit(problem.X, problem.target.y, problem.valid)
    scores = np.array(
        [search.cv_results_[f"split{k}_test_score"] for k in range(len(folds))]
    )
    fraction = tried[-1]
    rows = problem.called
    lines = _table(np.asarray(tried) * n_rows, scores, measure_name(problem), rows)
    if n_remove == "auto":
        fraction = search.n_remove_
        lines.append(_rule(scores, round(fraction * n_rows)))
    if not fraction:
        return Cleaning(np.array([], dtype=np.intp), {}), lines
    count = round(fraction * n_rows)
    # Without a validation table the search held out a fraction of the rows, which it
    # did not rank. Cross-influence ranks all of them, in rounds of about the same size.
    cleaner = InfluenceCleaner(
        model,
        n_remove=count,
        max_class_fraction=None,
        cv=None if problem.valid is not None else folds,
        n_rounds=min(count, math.ceil(n_rounds * fraction / tried[-1])),
        at=AT,
        random_state=model.random_state,
    )
    try:
        cleaner.fit_resample(problem.X, problem.target.y, problem.valid)
    except EmptiedClassError as error:
        raise TableError(
            f"--n-remove {count} would remove all {rows} whose "
            f"{problem.target.name!r} is {quoted(sorted(error.labels))}: name a "
            "smaller number, let 'auto' choose it, or review them and pass "
            "--decisions."
        ) from error
    return Cleaning(np.sort(cleaner.removed_indices_), {}), lines


def _tried(n_remove: float | str, n_rows: int) -> tuple[float, ...]:
    """Return the fractions of the rows whose removal is tried, ascending."""
    if isinstance(n_remove, str):
        return FRACTIONS
    return 0.0, as_count(n_remove, n_rows) / n_rows


def _rule(scores: np.ndarray, n_removed: int) -> str:
    """Say what was chosen, and by which error: not that of a gain in the table."""
    best = scores[:, np.nanargmax(scores.mean(axis=0))]
    error = best.std(ddof=1) / len(best) ** 0.5
    return (
        f"The fewest within a standard error of the best ({minus(best.mean())} ± "
        f"{error:.4f}) are {n_removed:,}."
    )


def _table(
    counts: np.ndarray, scores: np.ndarray, measure: str, rows: str
) -> list[str]:
    gains = scores - scores[:, :1]
    errors = gains.std(axis=0, ddof=1) / len(scores) ** 0.5
    lines = [
        f"{rows.capitalize()} removed, and {measure} on {rows} held out "
        f"({len(scores)} folds):"
    ]
    for count, mean, gain, error in zip(
        counts, scores.mean(axis=0), gains.mean(axis=0), errors, strict=True
    ):
        change = f"  {signed(gain)} ± {error:.4f}" if count else ""
        said = f"{minus(mean)}{change}"
        if np.isnan(mean):
            said = "would leave nothing of a class"
        lines.append(f"{round(count):>9,}  {said}")
    return lines
