"""A search over the number of samples to remove, as a curve of a page."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .values import json_number


def curve_dict(search: object) -> dict[str, Any]:
    """Return the scores of a search over the number of samples to remove."""
    results: Mapping[str, Any] = getattr(search, "cv_results_", {})
    names = [name for name in results if name.endswith("n_remove")]
    if len(names) != 1:
        raise ValueError(
            "`curve` must be a fitted InfluenceCleanerCV, or a GridSearchCV over one "
            f"`n_remove`, got {type(search).__name__} with {len(names)} of these."
        )
    folds = sorted(
        name for name in results if name.startswith("split") and "test" in name
    )
    table = np.array([results[name] for name in folds], dtype=np.float64)
    counts = np.asarray(results[names[0]], dtype=np.float64)
    order = np.argsort(counts, kind="stable")
    error = table.std(axis=0, ddof=1) / len(table) ** 0.5 if len(table) > 1 else None
    fractions = bool(((counts > 0) & (counts < 1)).any())
    return {
        "fractions": fractions,
        "n_removes": (counts[order] * (100 if fractions else 1)).tolist(),
        "means": [json_number(value) for value in table.mean(axis=0)[order]],
        "errors": None if error is None else [json_number(v) for v in error[order]],
        "n_folds": len(table),
    }
