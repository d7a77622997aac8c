"""Which cells of a sample do the harm."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .rows import Rows
from .samples import Showing
from .values import cut

# At most so many cells of a row are marked, each with a part of its harm of this size.
_N_CELLS, _LEAST_SHARE = 3, 0.2


def check_repairs(repairs: object, samples: Showing, n_samples: int) -> None:
    """Refuse what are no repairs of the cells that the page shows."""
    if not isinstance(samples, Rows):
        raise ValueError(
            "`repairs` must be None unless the samples are shown as rows of a table, "
            "got some. Give `raw` as a DataFrame."
        )
    names = list(map(str, samples.table.columns))
    if not isinstance(repairs, pd.DataFrame) or len(repairs) != n_samples:
        got = getattr(repairs, "shape", type(repairs).__name__)
        raise ValueError(
            f"`repairs` must be a DataFrame with a row for each of the {n_samples} "
            f"samples, got {got}. Give the `repairs` of column_influence."
        )
    told = list(map(str, repairs.columns))
    strange = [name for name in told if names.count(name) != 1 or told.count(name) > 1]
    if strange or not all(map(pd.api.types.is_numeric_dtype, repairs.dtypes)):
        got = f"a column {strange[0]!r:.200}" if strange else "other values"
        raise ValueError(
            "`repairs` must have numbers in columns that the samples are shown with, "
            f"each once, got {got}. Give the `repairs` of column_influence, for "
            "the columns of `raw`."
        )


def mark_cells(
    shown: Sequence[dict[str, Any]], rows: np.ndarray, repairs: pd.DataFrame
) -> None:
    """Tell for the cells that do the most harm what their repair gains.

    Their lines come first, after texts to be read.
    """
    names = [cut(name) for name in repairs.columns]
    values = np.nan_to_num(repairs.to_numpy(dtype=np.float64)[rows], posinf=0, neginf=0)
    for each, gains in zip(shown, np.maximum(-values, 0.0), strict=True):
        marked = [
            (names[k], float(f"{gains[k]:.5g}"))
            for k in np.argsort(-gains, kind="stable")[:_N_CELLS]
            if gains[k] > 0 and gains[k] >= _LEAST_SHARE * gains.sum()
        ]
        places = {name: place for place, (name, _) in enumerate(marked)}
        each["repairs"] = [list(cell) for cell in marked]
        each["table"].sort(key=lambda line: _place(line, places))


def _place(line: Sequence[Any], places: dict[str, int]) -> int:
    return -1 if len(line) > 4 else places.get(line[0], len(places))
