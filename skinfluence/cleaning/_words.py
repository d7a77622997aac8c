"""A fitted cleaner in words."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from .._digits import counted, share
from .._short_repr import short
from .._summary import SummarizedEstimator

# So many classes, or changes of classes, are named.
_MOST = 5


def cleaning_in_words(cleaner: Any) -> dict[str, str]:
    """Return what a cleaner ranked and what it did, by label; nothing before its fit.

    Parameters
    ----------
    cleaner : BaseCleaner
        The cleaner.
    """
    if not hasattr(cleaner, "support_"):
        return {}
    parts = (_ranked, _done, _validated, _first_run)
    return {label: fact for part in parts for label, fact in part(cleaner).items()}


def _ranked(cleaner: Any) -> dict[str, str]:
    n_ranked = np.count_nonzero(~np.isnan(cleaner.influence_))
    if not n_ranked:
        return {}  # decisions of reviewers
    query = getattr(cleaner, "query_", None)
    named = getattr(query, "name", query)
    measure = "" if query is None else f", query {short(named)}"
    both = getattr(cleaner, "label_probability_", None) is not None
    beside = " and label probability" if both else ""
    n_runs = counted(len(cleaner.over_runs_.scores), "run")
    return {
        "Ranked": (
            f"{n_ranked:,} of {counted(len(cleaner.influence_), 'sample')} by "
            f"{short(cleaner.scorer)}{beside}{measure}, in {n_runs}"
        )
    }


def _done(cleaner: Any) -> dict[str, str]:
    """Return what was done to the samples, and of which classes they are."""
    found, y = {}, cleaner._data_.y
    has_classes = hasattr(cleaner, "classes_") and y.ndim == 1

    def of_classes(rows: np.ndarray) -> str:
        return _told(y[rows].tolist()) if has_classes else ""

    def number(n: int) -> str:
        return f"{counted(n, 'sample')} ({share(n / len(y))})"

    removed = cleaner.removed_indices_
    if "removed" in cleaner._columns_:
        found["Removed"] = number(len(removed)) + of_classes(removed)
    changes = getattr(cleaner, "relabelled_", None)
    if changes is not None:
        pairs = zip(changes["from"].tolist(), changes["to"].tolist(), strict=True)
        told = _told(pairs) if has_classes else ""
        found["Relabelled"] = number(len(changes)) + told
    rows = getattr(cleaner, "unlabelled_indices_", None)
    if rows is not None:
        found["Unlabelled"] = number(len(rows)) + of_classes(rows)
    weights = getattr(cleaner, "sample_weight_", None)
    if weights is not None:
        lowered = np.flatnonzero(weights < 1)
        found["Weights lowered"] = (
            f"{number(len(lowered))}, by {(1 - weights).sum():.3g} in total"
        )
    return found


def _told(classes: Iterable[Any]) -> str:
    """Return how many there are of each, the most frequent first."""
    counts = Counter(classes).most_common()
    parts = [f"{n:,} {_named(each)}" for each, n in counts[:_MOST]]
    if len(counts) > _MOST:
        parts.append(f"{sum(n for _, n in counts[_MOST:]):,} others")
    return f": {', '.join(parts)}" if parts else ""


def _named(which: Any) -> str:
    if isinstance(which, tuple):
        return f"from {short(which[0])} to {short(which[1])}"
    return f"of {short(which)}"


def _validated(cleaner: Any) -> dict[str, str]:
    """Return the scores of cross-validation, with and without cleaning."""
    results = getattr(cleaner, "cv_results_", None)
    if results is None:
        return {}
    told = f"{cleaner.best_score_:.4g} with n_remove={cleaner.n_remove_:g}"
    tried = np.asarray(results["n_remove"], dtype=float)
    if cleaner.n_remove_ and (tried == 0).any():
        without = float(results["mean_test_score"][tried == 0][0])
        told += f", {without:.4g} without removal"
    n_folds = sum(name.startswith("split") for name in results)
    return {"Validation score": f"{told}, over {counted(n_folds, 'fold')}"}


def _first_run(cleaner: Any) -> dict[str, str]:
    """Return what the model before cleaning recorded."""
    model = getattr(cleaner, "estimator_", None)
    facts = model._facts() if isinstance(model, SummarizedEstimator) else {}
    return {f"First run, {label.lower()}": fact for label, fact in facts.items()}
