"""Other faults of a problem's tables than harmful rows."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from ..issues import find_issues
from ._cells import is_missing
from ._choices import CATEGORY, DATE, NUMBER, REGRESSION
from ._columns import convert
from ._problem import Folds, Problem
from ._tables import LEAST_ROWS, Table


def giveaways(problem: Problem) -> list[str]:
    """Return the columns from which alone the target can be told."""
    kinds = (NUMBER, DATE, CATEGORY)
    columns = [column for column in problem.columns if column.kind in kinds]
    if not columns:
        return []
    frame = convert(problem.table, columns)
    found = _find(problem, frame, kinds=["giveaway"])
    return [name for about in found["about"] for name in about]


def issues_of(
    problem: Problem, kinds: Sequence[str] | None = None, **known: Any
) -> pd.DataFrame:
    """Return the faults of all tables; validation and test rows are held out alike.

    `known` are probabilities and influence, as of :func:`skinfluence.find_issues`.
    """
    held_out = held_out_tables(problem)
    return _find(
        problem,
        problem.inputs.comparable([problem.table]),
        X_val=problem.inputs.comparable(held_out) if held_out else None,
        kinds=kinds,
        **known,
    )


def held_out_tables(problem: Problem) -> list[Table]:
    """Return the tables that are not trained on."""
    tables = (problem.valid_table, problem.test_table)
    return [table for table in tables if table is not None]


def unlike(problem: Problem) -> Iterator[str]:
    """Yield notes on columns that are written in another way in another table.

    Its rows cannot match, whatever they mean.
    """
    train = problem.inputs.cells(problem.table)
    for table in held_out_tables(problem):
        frame = problem.inputs.cells(table)
        for name in frame.columns:
            present = ~is_missing(table.frame[name])
            unread = present & frame[name].isna().to_numpy()
            if unread.sum() > 0.5 * present.sum() or _foreign(frame[name], train[name]):
                yield (
                    f"Note: {name!r} of {table.name} is written in another way than in "
                    f"{problem.table.name}: most of its rows cannot be found there."
                )


def _foreign(cells: pd.Series, train: pd.Series) -> bool:
    """Return whether words that come again and again have none in common."""
    known = cells.dropna()
    if pd.api.types.is_numeric_dtype(cells) or len(known) < LEAST_ROWS:
        return False
    if pd.api.types.is_datetime64_any_dtype(cells):
        return False
    return train.nunique() <= 0.5 * len(train) and not known.isin(train).any()


def out_of_fold(problem: Problem, model: Any, folds: Folds) -> np.ndarray:
    """Return the probability of each label by a model that did not see the row."""
    plain, y = clone(model).set_params(record=None), problem.target.y
    # The only row of a class is never held out: its label cannot be judged.
    probabilities = np.asarray(np.unique(y) == y[:, None], dtype=np.float64)
    for train, held_out in folds:
        fitted = clone(plain).fit(problem.X[train], y[train])
        probabilities[held_out] = fitted.predict_proba(problem.X[held_out])
    return probabilities


def _find(problem: Problem, rows: Any, **options: Any) -> pd.DataFrame:
    regression = problem.target.task == REGRESSION
    return find_issues(rows, problem.target.y, regression=regression, **options)
