"""The effect of a cleaning: scores of the model before and after."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from sklearn.base import clone

from ._choices import CLASSIFICATION
from ._cleaning import Cleaning, cleaned_rows, repeated
from ._problem import Folds, Problem

# Of the record of a run that is repeated.
_MOST_BYTES = 2**28

_Scores: TypeAlias = tuple[float, float, float | str]
"""Before, after, and of the repeated run, or why there is none."""


class Change(NamedTuple):
    """The scores before and after a cleaning, one of each for every evaluation."""

    where: str
    before: np.ndarray
    after: np.ndarray
    repeated: np.ndarray | str = ""
    """Those of the runs before, repeated exactly; or why they are not."""

    def in_words(self, measure: str) -> str:
        """Describe the means, and the standard error of their difference."""
        return (
            f"{measure} {self.where}: {minus(self.before.mean())} before, "
            f"{minus(self.after.mean())} after, {_gain(self.after - self.before)}"
        )

    def lines(self, measure: str) -> list[str]:
        """Return what to say: of models trained anew, and of the repeated ones."""
        lines = [self.in_words(measure).capitalize() + "."]
        if isinstance(self.repeated, np.ndarray):
            lines.append(
                "  The same runs, repeated exactly with the same batches: "
                f"{minus(self.repeated.mean())} after, "
                f"{_gain(self.repeated - self.before)}."
            )
        elif self.repeated:
            lines.append(f"  The same runs cannot be repeated exactly: {self.repeated}")
        return lines


def _gain(gain: np.ndarray) -> str:
    """Return the mean, and its standard error if there are several."""
    if len(gain) < 2:
        return signed(gain.mean())
    return f"{signed(gain.mean())} ± {gain.std(ddof=1) / len(gain) ** 0.5:.4f}"


def minus(value: float) -> str:
    """Return a number with a minus sign in the place of a hyphen."""
    return f"{value:.4f}".replace("-", "−")


def signed(value: float) -> str:
    """Return a difference with its sign."""
    return f"{value:+.4f}".replace("-", "−")


def measure_name(problem: Problem) -> str:
    """Return the name of the models' score."""
    return "accuracy" if problem.target.task == CLASSIFICATION else "R²"


def n_fits(problem: Problem, folds: Folds | None) -> int:
    """Return how many models :func:`judge` trains."""
    has_tables = problem.valid_table is not None or problem.test_table is not None
    return 2 * (has_tables + len(folds or []))


def judge(
    problem: Problem,
    model: Any,
    cleaning: Cleaning,
    folds: Folds | None,
    *,
    repeat: bool = False,
) -> list[Change]:
    """Train before and after the cleaning, and score.

    On the validation and the test table, if given, and on the folds. There only
    held-out rows without a decision count, since the labels of the others are in
    dispute. With `repeat`, each run before is also repeated exactly, but for the
    cleaning: that costs two more trainings each.
    """
    # Recording would only cost memory, unless the run is to be repeated.
    plain = clone(model).set_params(record=None)
    first = clone(plain)
    if repeat:
        first.set_params(record="replay", max_trajectory_bytes=_MOST_BYTES)
    X, y = problem.X, problem.target.y

    def scores_of(rows: np.ndarray, *tables: Any) -> list[_Scores]:
        """Return the scores on some tables."""
        left, labels = cleaned_rows(y, cleaning, rows)
        before = clone(first).fit(X[rows], y[rows])
        after = clone(plain).fit(X[left], labels)
        again, why = repeated(before, rows, cleaning) if repeat else (None, "")
        return [
            (
                before.score(*table),
                after.score(*table),
                why if again is None else again.score(*table),
            )
            for table in tables
        ]

    changes = []
    others = {
        "on the validation table": problem.valid,
        "on the test table": problem.test,
    }
    tables = {where: rows for where, rows in others.items() if rows is not None}
    if tables:
        found = scores_of(np.arange(len(y)), *tables.values())
        changes += [
            _change(where, [each]) for where, each in zip(tables, found, strict=True)
        ]
    decided = [*cleaning.removed, *cleaning.relabelled]
    by_fold: list[_Scores] = []
    for train, held_out in folds or []:
        judges = np.setdiff1d(held_out, decided)
        if len(judges) > 1:  # R² needs two
            by_fold += scores_of(train, (X[judges], y[judges]))
    if by_fold:
        changes.append(_change(f"on held-out {problem.called}", by_fold))
    return changes


def _change(where: str, scores: Sequence[_Scores]) -> Change:
    before, after, again = zip(*scores, strict=True)
    reasons = [each for each in again if isinstance(each, str)]
    return Change(
        where,
        np.array(before),
        np.array(after),
        reasons[0] if reasons else np.array(again),
    )
