"""Columns that give the target away: they may not be known when it is predicted."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from ._choices import CATEGORY, CLASSIFICATION, DATE, NUMBER
from ._columns import convert
from ._problem import Problem

_ENOUGH = 5_000  # rows that tell
_NEARLY_ALL = 0.98  # share of the majority's errors that are avoided
_SAME_ORDER = 0.999  # rank correlation with numbers


def giveaways(problem: Problem) -> list[str]:
    """Return the columns from which alone the target can be told.

    Labels by a small decision tree, on rows that it has not seen; numbers by their
    order.
    """
    kinds = (NUMBER, DATE, CATEGORY)
    columns = [column for column in problem.columns if column.kind in kinds]
    if not columns:
        return []
    rows = np.random.RandomState(0).permutation(len(problem.table))[:_ENOUGH]
    frame = convert(problem.table, columns).iloc[rows]
    y = problem.target.y[rows]
    tells = _tells_label if problem.target.task == CLASSIFICATION else _tells_number
    return [str(name) for name, cells in frame.items() if tells(cells, y)]


def _tells_label(cells: pd.Series, y: np.ndarray) -> bool:
    values: Any = cells
    if cells.dtype == object or pd.api.types.is_string_dtype(cells):
        values = pd.factorize(cells)[0]
    values = np.asarray(values, dtype=np.float64)
    # A missing cell may tell too: a value below all others, which any tree splits off.
    values = np.where(np.isnan(values), np.nanmin(values, initial=0) - 1, values)
    tree = DecisionTreeClassifier(min_samples_leaf=5, random_state=0)
    found = cross_val_predict(tree, values[:, None], y, cv=KFold(3))
    _, counts = np.unique(y, return_counts=True)
    wrong = float((found != y).mean())
    return wrong <= (1 - _NEARLY_ALL) * (1 - counts.max() / len(y))


def _tells_number(cells: pd.Series, y: np.ndarray) -> bool:
    if not pd.api.types.is_numeric_dtype(cells):
        return False
    known = cells.notna().to_numpy()
    if known.mean() < 0.5 or cells[known].nunique() < 0.5 * len(np.unique(y)):
        return False
    return abs(spearmanr(cells[known], y[known]).statistic) >= _SAME_ORDER
