"""Other faults of the data than harmful samples, as what a page shows of them."""

from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from ...issues import ROW_KINDS
from .rows import row_name
from .values import written

_MOST_ROWS = 8

Content: TypeAlias = dict[str, Any]


def checked_issues(issues: object, n_samples: int) -> pd.DataFrame:
    """Return a table of issues; refuse one of other data, or that is none."""
    if not isinstance(issues, pd.DataFrame) or "n_samples" not in issues.attrs:
        raise TypeError(
            f"`issues` must be what `find_issues` returns, got {type(issues).__name__}."
        )
    if issues.attrs["n_samples"] != n_samples:
        raise ValueError(
            f"`issues` must be about the {n_samples} samples of X, got those of "
            f"{issues.attrs['n_samples']}."
        )
    return issues


def issues_dict(
    issues: pd.DataFrame, influence: np.ndarray, index: pd.Index | None
) -> list[Content]:
    """Return each fault in words, with its rows and the sum of their influence."""
    return [
        {
            "kind": line["kind"].replace("_", " "),
            "said": line["finding"],
            "advice": line["advice"],
            "rows": _named(line["rows"], index),
            "more": max(len(line["rows"]) - _MOST_ROWS, 0),
            "change": _change(line["kind"], line["rows"], influence),
        }
        for line in issues.to_dict("records")
    ]


def _change(kind: str, rows: np.ndarray, influence: np.ndarray) -> str:
    """Return what removing the rows would change, if they are to be removed."""
    known = np.isfinite(influence[rows])
    if kind not in ROW_KINDS or not known.all() or not len(rows):
        return ""
    return written(float(influence[rows].sum()))


def _named(rows: np.ndarray, index: pd.Index | None) -> str:
    """Return the first rows, what their names begin with only once: "Lines 3, 8"."""
    names = [row_name(index, int(row)) for row in rows[:_MOST_ROWS]]
    if not names:
        return ""
    kinds, _, numbers = zip(*(name.partition(" ") for name in names), strict=True)
    if len({*kinds}) == 1 and all(numbers):
        return f"{kinds[0].capitalize()}{'s' * (len(names) > 1)} {', '.join(numbers)}"
    return ", ".join(names)
