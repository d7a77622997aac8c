"""Harmful slices as what a page shows of them."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .._slices import slice_influence
from .._typing import Estimator, RandomState
from .values import json_number

# Of slices that chance explains a page would say too much.
_LEVEL = 0.05

Content: TypeAlias = dict[str, Any]


def slices_dict(
    estimator: Estimator,
    table: pd.DataFrame,
    judge: tuple[object, ArrayLike],
    influence: np.ndarray,
    random_state: RandomState,
    question: Mapping[str, Any],
) -> Content:
    """Return the harmful slices of a table that chance does not explain."""
    found = slice_influence(
        estimator,
        table,
        *judge,
        influence=influence,
        random_state=random_state,
        **question,
    )
    shown = found[found["p_value"] <= _LEVEL].drop(columns="samples")
    lines: list[Content] = [
        {str(name): _value(value) for name, value in line.items()}
        for line in shown.to_dict("records")
    ]
    return {"n_tried": int(found.attrs["n_tried"]), "level": _LEVEL, "lines": lines}


def _value(value: Any) -> Any:
    """Return a word, a count, or a number to five digits; None for NaN."""
    return json_number(value) if isinstance(value, float) else value
