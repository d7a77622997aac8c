"""What a cleaning did: the score of the model before and after."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from ._problem import Folds, Problem
from ._target import CLASSIFICATION


class Cleaning(NamedTuple):
    """Rows to take out, and other labels (or numbers) for some."""

    removed: np.ndarray
    relabelled: Mapping[int, Any]


class Change(NamedTuple):
    """The scores before and after a cleaning, one for each judging."""

    where: str
    before: np.ndarray
    after: np.ndarray

    def in_words(self, measure: str) -> str:
        """Return the means, and how sure the difference is."""
        before, after, gain = self.before, self.after, self.after - self.before
        text = (
            f"{measure} {self.where}: {before.mean():.4f} before, {after.mean():.4f} "
            f"after, {signed(gain.mean())}"
        )
        if len(gain) > 1:
            text += f" ± {gain.std(ddof=1) / len(gain) ** 0.5:.4f}"
        return text


def signed(value: float) -> str:
    """Return a difference with its sign."""
    return f"{value:+.4f}".replace("-", "−")


def measure_name(problem: Problem) -> str:
    """Return what the models' score is called."""
    return "accuracy" if problem.target.task == CLASSIFICATION else "R²"


def cleaned_rows(
    y: np.ndarray, cleaning: Cleaning, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of some rows are left, and their targets."""
    left = rows[~np.isin(rows, cleaning.removed)]
    mended = y.copy()
    for row, label in cleaning.relabelled.items():
        mended[row] = label
    return left, mended[left]


def n_fits(problem: Problem, folds: Folds | None) -> int:
    """Return how many models :func:`judge` trains."""
    given = problem.valid is not None or problem.test is not None
    return 2 * (given + len(folds or []))


def judge(
    problem: Problem, model: Any, cleaning: Cleaning, folds: Folds | None
) -> list[Change]:
    """Train before and after the cleaning, and score.

    On the validation and the test table, where given, and on the folds: there on the
    held-out rows about which nothing was decided, since the labels of the others are
    in dispute.
    """
    plain = clone(model).set_params(record=None)
    X, y = problem.X, problem.target.y

    def fitted(rows: np.ndarray) -> tuple[Any, Any]:
        left, labels = cleaned_rows(y, cleaning, rows)
        return clone(plain).fit(X[rows], y[rows]), clone(plain).fit(X[left], labels)

    changes = []
    tables = {
        "on the validation table": problem.valid,
        "on the test table": problem.test,
    }
    given = {where: rows for where, rows in tables.items() if rows is not None}
    if given:
        models = fitted(np.arange(len(y)))
        for where, rows in given.items():
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
