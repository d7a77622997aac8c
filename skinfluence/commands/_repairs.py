"""What would change if single cells of the table were typical."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from ._choices import CATEGORY, DATE, NUMBER
from ._columns import convert
from ._problem import Problem, Rows

# A text to be read has no typical value.
_TYPICAL = (CATEGORY, DATE, NUMBER)


def repairs_of(
    problem: Problem, model: Any, valid: Rows, **asked: Any
) -> tuple[pd.DataFrame | None, str]:
    """Return the change of the query for each cell that is used, and how in words.

    To first order in the model's input: other than the slopes in the cells, that sees
    how far an extreme value was limited, and rare categories that share a column.
    """
    names = [each.name for each in problem.columns if each.kind in _TYPICAL]
    if sparse.issparse(problem.X) or not names:
        return None, "none: the words of texts are no cells that could be typical"
    slopes = model.feature_influence(*valid, **asked)
    frame = convert(problem.table, problem.columns)
    before = problem.transformer.transform(frame)
    found = {}
    for name in names:
        other = frame.copy()
        other[name] = _typical(frame[name])
        moved = problem.transformer.transform(other) - before
        found[name] = (slopes * moved).sum(axis=1)
    return pd.DataFrame(found), (
        "in one model, of the details, those with which the row harms most, compared "
        "with the median of the column, or its most frequent category"
    )


def _typical(cells: pd.Series) -> Any:
    if pd.api.types.is_numeric_dtype(cells):
        return np.nanmedian(cells)
    return cells.mode()[0]
