"""A cleaning: what is left of the rows, and what becomes of a recorded run."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..exceptions import SkinfluenceError


class Cleaning(NamedTuple):
    """Rows to remove, and new labels (or numbers) for others."""

    removed: np.ndarray
    relabelled: Mapping[int, Any]


def cleaned_rows(
    y: np.ndarray, cleaning: Cleaning, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of some rows remain, and their targets after the cleaning."""
    left = rows[~np.isin(rows, cleaning.removed)]
    corrected = y.copy()
    for row, label in cleaning.relabelled.items():
        corrected[row] = label
    return left, corrected[left]


def repeated(model: Any, rows: np.ndarray, cleaning: Cleaning) -> tuple[Any, str]:
    """Repeat the run of a model that was trained on some rows, but for the cleaning.

    With the same initial weights and batches, the removed rows at weight 0, and the new
    labels. Returns the model, or None and why there is none.
    """
    places = {int(row): place for place, row in enumerate(rows)}
    gone = [places[row] for row in cleaning.removed.tolist() if row in places]
    labels = {
        places[row]: label
        for row, label in cleaning.relabelled.items()
        if row in places
    }
    if not gone and not labels:
        return model, ""
    # A part of the rows may lack a class that is rare.
    known = getattr(model, "classes_", None)
    for label in labels.values():
        if known is not None and label not in known:
            return None, f"no other row that it learns from has the label {label!r}."
    try:
        return model.refit_without(np.array(gone, dtype=np.intp), relabel=labels), ""
    except SkinfluenceError as error:
        return None, str(error)
