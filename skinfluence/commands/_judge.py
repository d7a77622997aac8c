"""The effect of a cleaning: scores of the model before and after."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from ._choices import CLASSIFICATION
from ._problem import Folds, Problem


class Cleaning(NamedTuple):
    """Rows to remove, and new labels (or numbers) for others."""

    removed: np.ndarray
    relabelled: Mapping[int, Any]


class Change(NamedTuple):
    """The scores before and after a cleaning, one of each for every evaluation."""

    where: str
    before: np.ndarray
    after: np.ndarray

    def in_words(self, measure: str) -> str:
        """Describe the means, and the standard error of their difference."""
        before, after, gain = self.before, self.after, self.after - self.before
        text = (
            f"{measure} {self.where}: {minus(before.mean())} before, "
            f"{minus(after.mean())} after, {signed(gain.mean())}"
        )
        if len(gain) > 1:
            text += f" ± {gain.std(ddof=1) / len(gain) ** 0.5:.4f}"
        return text


def minus(value: float) -> str:
    """Return a number with a minus sign in the place of a hyphen."""
    return f"{value:.4f}".replace("-", "−")


def signed(value: float) -> str:
    """Return a difference with its sign."""
    return f"{value:+.4f}".replace("-", "−")


def measure_name(problem: Problem) -> str:
    """Return the name of the models' score."""
    return "accuracy" if problem.target.task == CLASSIFICATION else "R²"


def cleaned_rows(
    y: np.ndarray, cleaning: Cleaning, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of some rows remain, and their targets after the cleaning."""
    left = rows[~np.isin(rows, cleaning.removed)]
    corrected = y.copy()
    for row, label in cleaning.relabelled.items():
        corrected[row] = label
    return left, corrected[left]


def n_fits(problem: Problem, folds: Folds | None) -> int:
    """Return how many models :func:`judge` trains."""
    has_tables = problem.valid is not None or problem.test is not None
    return 2 * (has_tables + len(folds or []))


def judge(
    problem: Problem, model: Any, cleaning: Cleaning, folds: Folds | None
) -> list[Change]:
    """Train before and after the cleaning, and score.

    On the validation and the test table, if given, and on the folds. There only
    held-out rows without a decision count, since the labels of the others are in
    dispute.
    """
    # Recording would only cost memory.
    plain = clone(model).set_params(record=None)
    X, y = problem.X, problem.target.y

    def fitted(rows: np.ndarray) -> tuple[Any, Any]:
        left, labels = cleaned_rows(y, cleaning, rows)
        return clone(plain).fit(X[rows], y[rows]), clone(plain).fit(X[left], labels)

    changes = []
    others = {
        "on the validation table": problem.valid,
        "on the test table": problem.test,
    }
    tables = {where: rows for where, rows in others.items() if rows is not None}
    if tables:
        models = fitted(np.arange(len(y)))
        for where, rows in tables.items():
            scores = [np.array([each.score(*rows)]) for each in models]
            changes.append(Change(where, *scores))
    decided = [*cleaning.removed, *cleaning.relabelled]
    pairs = []
    for train, held_out in folds or []:
        judges = np.setdiff1d(held_out, decided)
        if len(judges) > 1:  # R² needs two
            models = fitted(train)
            pairs.append([each.score(X[judges], y[judges]) for each in models])
    if pairs:
        changes.append(Change("on held-out rows", *np.array(pairs).T))
    return changes
