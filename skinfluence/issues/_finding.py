"""One fault of the data, and what is known of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from .._digits import counted, share

Rows: TypeAlias = "np.ndarray"

ROW_KINDS = (
    "duplicates",
    "near_duplicates",
    "conflicting_labels",
    "leakage",
    "near_leakage",
    "label_errors",
    "outliers",
)
"""Faults of rows, which may go."""

NAMED_KINDS = ("rare_class", "constant", "giveaway", "identifier", "missing")
"""Faults of a class or of columns."""

KINDS = (*ROW_KINDS, *NAMED_KINDS)
"""In the order in which a table of findings lists them."""


def no_rows() -> Rows:
    """Return row numbers of nothing."""
    return np.zeros(0, dtype=np.intp)


@dataclass(frozen=True)
class Finding:
    """A fault.

    Parameters
    ----------
    kind : str
        One of ``KINDS``.
    said : str
        What was found, in a sentence.
    advice : str
        What to do.
    figure : float
        How strong it is; what it means depends on the kind.
    rows : ndarray of shape (n_rows,), int
        The training samples.
    matches : ndarray of shape (n_rows,), int, or empty
        For each of them, the sample that it repeats.
    about : sequence of str
        The columns, or the class.
    """

    kind: str
    said: str
    advice: str
    figure: float
    rows: Rows = field(default_factory=no_rows)
    matches: Rows = field(default_factory=no_rows)
    about: Sequence[str] = ()


def as_frame(
    findings: Sequence[Finding], influence: np.ndarray | None, attrs: dict[str, Any]
) -> pd.DataFrame:
    """Return findings as a table, in the order of their kinds."""
    ordered = sorted(findings, key=lambda found: KINDS.index(found.kind))
    frame = pd.DataFrame(
        {
            "kind": [found.kind for found in ordered],
            "finding": [found.said for found in ordered],
            "advice": [found.advice for found in ordered],
            "n_rows": [len(found.rows) for found in ordered],
            "figure": [float(found.figure) for found in ordered],
            "influence": [_cost(found, influence) for found in ordered],
            "about": [tuple(found.about) for found in ordered],
            "rows": [found.rows for found in ordered],
            "matches": [found.matches for found in ordered],
        }
    )
    frame.attrs.update(attrs)
    return frame


def _cost(found: Finding, influence: np.ndarray | None) -> float:
    if influence is None or found.kind not in ROW_KINDS:
        return float("nan")
    return float(influence[found.rows].sum())


def counted_of(n: int, total: int, word: str, one: str, many: str) -> str:
    """Return a number with a noun, its share and a verb: "2 rows (1 %) are"."""
    return f"{counted(n, word)} ({share(n / total)}) {one if n == 1 else many}"
