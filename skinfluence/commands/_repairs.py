"""What would change if single cells of the table were typical."""

from itertools import chain
from typing import Any

import pandas as pd

from ._problem import Problem, Rows


def repairs_of(
    problem: Problem, model: Any, valid: Rows, **asked: Any
) -> tuple[pd.DataFrame | None, str]:
    """Return the change of the query for each cell that is used, and how in words.

    To first order in the model's input: other than the slopes in the cells, that sees
    how far an extreme value was limited, and rare categories that share a column.
    """
    moves = problem.inputs.moves(problem.table)
    first = next(moves, None)
    if first is None:
        return None, (
            "none: the words of texts are no cells that could be typical, nor are "
            "pictures"
        )
    slopes = model.feature_influence(*valid, **asked)
    found = {
        name: (slopes * moved).sum(axis=1) for name, moved in chain([first], moves)
    }
    return pd.DataFrame(found), (
        "in one model, of the details, those with which the row harms most, compared "
        "with the median of the column, or its most frequent category"
    )
