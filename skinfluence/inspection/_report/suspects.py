"""Suspects as a plain dict that can be written as JSON."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from .findings import Audit, Harmed
from .ranked import Ranked
from .samples import Showing
from .values import json_number

Content: TypeAlias = dict[str, Any]

Places: TypeAlias = Mapping[Hashable, int] | None
"""A classifier's labels -> their indices."""


def suspects_of(
    findings: Audit, shown: Sequence[Content], places: Places
) -> list[Content]:
    """Return a dict for each suspect."""
    most = findings.harmed.most
    return [
        {
            "sample": int(row),
            "given": label_of(findings.labels[k], places),
            "predicted": label_of(findings.predictions[k], places),
            "influence": json_number(findings.influence[row]),
            "score": json_number(findings.scores[row]),
            **_spread(findings.ranked, row),
            **_probabilities(findings, k, places),
            **_gain(findings.by_label[k]),
            "path": [json_number(value) for value in findings.paths[k]],
            "harms": [
                [int(other), json_number(value)]
                for other, value in zip(most.rows[k], most.influence[k], strict=True)
                if value < 0
            ],
            **shown[k],
        }
        for k, row in enumerate(findings.suspects)
    ]


def alike(suspects: list[Content], samples: Showing) -> list[Content]:
    """Note in suspects that are the same as an earlier one which one that is."""
    first: dict[Hashable, int] = {}
    for suspect in suspects:
        row = suspect["sample"]
        same = first.setdefault((suspect["given"], samples.key(row)), row)
        if same != row:
            suspect["alike"] = same
    return suspects


def _spread(ranked: Ranked, row: int) -> Content:
    """Return how far the score may be off, and how many runs agree in sign."""
    over_runs, interval = ranked.over_runs, ranked.interval
    if over_runs is None:
        return {}
    n_used = int(over_runs.n_used[row])
    ends = None if interval is None else map(json_number, interval.interval[row])
    return {
        "standard_error": json_number(over_runs.standard_error[row]),
        "n_runs": n_used,
        "n_agree": round(float(over_runs.sign_agreement[row]) * n_used),
        "interval": None if ends is None else list(ends),
    }


def _probabilities(findings: Audit, k: int, places: Places) -> Content:
    if findings.probabilities is None or places is None:
        return {}
    proba = findings.probabilities[k]
    return {
        "probability": json_number(proba[label_of(findings.predictions[k], places)]),
        "probability_given": json_number(proba[label_of(findings.labels[k], places)]),
    }


def _gain(by_label: np.ndarray | np.floating) -> Content:
    """Return the best other label with its gain, or the slope of the target."""
    if not isinstance(by_label, np.ndarray):
        return {"slope": json_number(by_label)}
    best = int(np.argmin(by_label))
    if not by_label[best] < 0:
        return {"proposal": None, "gain": 0.0}
    return {"proposal": best, "gain": json_number(-by_label[best])}


def validation_of(harmed: Harmed, others: Showing | None, places: Places) -> Content:
    """Return a dict for each validation sample that is shown, by its row."""
    rows = np.unique(harmed.most.rows[harmed.most.influence < 0])
    shown = [{}] * len(rows) if others is None else others.show(rows)
    return {
        str(row): {
            "given": label_of(harmed.labels[row], places),
            "predicted": label_of(harmed.predictions[row], places),
            **entry,
        }
        for row, entry in zip(rows, shown, strict=True)
    }


def label_of(value: Any, places: Places) -> Any:
    """Return the index of a label, or a target."""
    if places is not None:
        return places[value.item() if hasattr(value, "item") else value]
    # As it stands, in its own precision: as a double, the float 0.1 has 17 digits.
    return float(str(value)) if np.isfinite(value) else None
