"""The column to predict: classes or numbers."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..exceptions import TableError
from ._cells import is_missing, is_text, texts
from ._choices import CLASSIFICATION, REGRESSION
from ._numbers import numbers
from ._tables import LEAST_ROWS, Table, quoted

_MOST_CLASSES = 20  # more different whole numbers are a quantity


@dataclass(frozen=True)
class Target:
    """The target.

    Attributes
    ----------
    name : str
        The column.
    task : {"classification", "regression"}
        The task.
    y : ndarray of shape (n_rows,)
        Labels as in the table, or numbers.
    why : str
        The reason for the task.
    unit : str
        The unit of numbers.
    """

    name: str
    task: str
    y: np.ndarray
    why: str
    unit: str = ""


def with_target(table: Table, name: str) -> Table:
    """Return the rows of a table whose target is not missing."""
    known = np.flatnonzero(~is_missing(table.frame[name]))
    if len(known) == 0:
        raise TableError(f"The target {name!r} is empty in {table.name!r}.")
    return table if len(known) == len(table) else table.take(known)


def read_target(table: Table, name: str, task: str) -> Target:
    """Return the target of a table; "auto" infers the task from its values."""
    column = table.frame[name]
    if len(table) < LEAST_ROWS:
        raise TableError(
            f"{table.name!r} must have at least {LEAST_ROWS} {table.file.rows} with a "
            f"target, got {len(table)}."
        )
    values, unit = numbers(column, table.file.decimal)
    why = "as requested"
    if task == "auto" and table.file.task == CLASSIFICATION:
        task, why = CLASSIFICATION, f"{column.nunique()} folders"
    elif task == "auto":
        task, why = _infer_task(column, values)
    if task == REGRESSION:
        return Target(name, task, _quantities(table, column, values, name), why, unit)
    labels = _labels(column)
    _check_classes(table, labels, name)
    return Target(name, task, labels, why)


def read_same_target(table: Table, target: Target) -> np.ndarray:
    """Return the target of another table, with the same classes or as numbers."""
    column = table.frame[target.name]
    if target.task == REGRESSION:
        values, _ = numbers(column, table.file.decimal, target.unit)
        return _quantities(table, column, values, target.name)
    labels = _labels(column)
    unseen = sorted(set(map(str, labels)) - set(map(str, target.y)))
    if unseen:
        raise TableError(
            f"{table.name!r} has labels in {target.name!r} that the training table "
            f"does not have: {quoted(unseen)}."
        )
    return labels


def _labels(column: pd.Series) -> np.ndarray:
    """Return labels as in the table, spaces included."""
    # The cleaned file must show the labels as they were written.
    if is_text(column) and not pd.api.types.is_bool_dtype(column.dtype):
        return column.astype(object).to_numpy().astype(str)
    return column.to_numpy()


def _infer_task(column: pd.Series, values: np.ndarray) -> tuple[str, str]:
    distinct = texts(column).nunique()
    if np.isnan(values).any() or pd.api.types.is_bool_dtype(column.dtype):
        return CLASSIFICATION, f"{distinct} different labels"
    if np.any(values != np.round(values)):
        return REGRESSION, "numbers with decimals"
    if distinct > _MOST_CLASSES:
        return REGRESSION, f"{distinct} different numbers"
    return CLASSIFICATION, f"{distinct} different whole numbers"


def _quantities(
    table: Table, column: pd.Series, values: np.ndarray, name: str
) -> np.ndarray:
    invalid = np.flatnonzero(np.isnan(values))
    if len(invalid):
        raise TableError(
            f"The target {name!r} must be numbers for a regression, but is not in "
            f"{table.where(invalid)} of {table.name!r}, such as "
            f"{texts(column).iloc[invalid[0]]!r}."
        )
    if len(values) > 1 and np.ptp(values) == 0:
        raise TableError(
            f"The target {name!r} is {texts(column).iloc[0]} in every row of "
            f"{table.name!r}: there is nothing to learn."
        )
    return values


def _check_classes(table: Table, labels: np.ndarray, name: str) -> None:
    distinct = set(map(str, labels))
    if len(distinct) == 1:
        raise TableError(
            f"The target {name!r} is {distinct.pop()!r} in every row of "
            f"{table.name!r}: there is nothing to learn."
        )
    if len(distinct) > len(labels) // 2:
        raise TableError(
            f"The target {name!r} has {len(distinct)} different labels in "
            f"{len(labels)} rows of {table.name!r}, too many to learn: name another "
            "column, or pass --task regression if it is a quantity."
        )
