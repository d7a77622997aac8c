"""The findings of an audit as a plain dict that can be written as JSON."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from typing import Any, SupportsFloat, TypeAlias

import numpy as np
import torch
from sklearn.base import is_classifier

from ..._version import __version__
from ...cleaning import Decisions
from ...estimators import InfluenceCheck, ScoresOverRuns, Skill
from .._style import NAMES_OF_QUERIES, described, unit_of_loss
from .._typing import At, Estimator, QueryLike
from .findings import Audit, Harmed
from .rows import Columns
from .samples import Showing
from .values import as_it_stands, written

_N_BINS = 60
_LABEL_CHARACTERS = 40
_AT = {
    "final": "of the final model",
    "epochs": "averaged over the models at all epoch ends",
    "path": "along training (the model after epoch e has weight 1/e)",
}

Content: TypeAlias = dict[str, Any]
# A classifier's labels -> their indices.
Places: TypeAlias = Mapping[Hashable, int] | None


def audit_dict(
    estimator: Estimator,
    findings: Audit,
    samples: Showing,
    shown: Sequence[Content],
    others: Showing | None,
    *,
    y: np.ndarray,
    at: At,
    query: QueryLike,
    smoothing: float | str | None,
    curve: Content | None,
    about: Mapping[str, Any],
    columns: Columns,
    slices: Content | None,
    issues: list[Content] | None,
    warnings: Sequence[str],
    apply_command: str | None,
    title: str,
    skill: Skill | None,
) -> Content:
    """Return all that a page shows."""
    classes = estimator.classes_.tolist() if is_classifier(estimator) else None
    places = None if classes is None else {c: k for k, c in enumerate(classes)}
    assert estimator.trajectory_ is not None  # the influence comes from it
    n_epochs = int(estimator.trajectory_.n_epochs)
    skill = findings.skills["validation"] if skill is None else skill
    return {
        "title": title,
        "created": datetime.now().astimezone().isoformat(timespec="minutes"),
        "version": __version__,
        "fingerprint": findings.fingerprint,
        "measure": NAMES_OF_QUERIES.get(
            query if isinstance(query, str) else "", "query"
        ),
        "unit": described(estimator, query)["unit"],
        "loss_unit": unit_of_loss(estimator),
        "measured": _AT.get(at if isinstance(at, str) else "", "of chosen epochs")
        + ("; kinks are smoothed on the way back" if smoothing else ""),
        "facts": _facts(estimator, n_epochs, y),
        "about": [[str(name), str(value)] for name, value in about.items()],
        "columns": [list(map(str, column)) for column in columns or ()],
        "slices": slices,
        "issues": issues,
        "warnings": [*_warnings(skill), *map(str, warnings)],
        "skill": {"said": skill.in_words(), "has_learnt": skill.has_learnt},
        "apply_command": apply_command,
        "scores": scores_dict(findings),
        "n_samples": len(y),
        "distribution": _distribution(findings),
        "check": _check(findings.check),
        "curve": curve,
        "applied": None,
        "ranked_by_influence": findings.scores is findings.influence,
        "epochs": n_epochs,
        "classes": None if classes is None else [str(label) for label in classes],
        "shows_harmed": findings.harmed.most.rows.size > 0,
        "by_label": None if places is None else _by_label(findings, y, places),
        "suspects": _alike(_suspects(findings, shown, places), samples),
        "validation": _validation(findings.harmed, others, places),
    }


def _facts(estimator: Estimator, n_epochs: int, y: np.ndarray) -> list[list[str]]:
    module = type(estimator.module_).__name__
    size = sum(parameter.numel() for parameter in estimator.module_.parameters())
    optimizer = type(estimator.optimizer_).__name__
    batch = estimator.batch_size
    facts = [
        ["Estimator", type(estimator).__name__],
        ["Model", f"{module}, {size:,} parameters"],
        [
            "Training",
            f"{n_epochs} epochs, {optimizer}, learning rate "
            f"{estimator.lr:g}, "
            + (f"batches of {batch}" if batch > 0 else "the whole data as one batch"),
        ],
        ["Training samples", _n_trained(estimator, len(y))],
    ]
    if is_classifier(estimator):
        labels, counts = np.unique(y, return_counts=True)
        first = ", ".join(
            f"{str(label)[:_LABEL_CHARACTERS]} ({count:,})"
            for label, count in zip(labels.tolist()[:8], counts, strict=False)
        )
        more = f" and {len(labels) - 8} more" if len(labels) > 8 else ""
        facts.append(["Labels", first + more])
    else:
        facts.append(
            [
                "Targets",
                f"{as_it_stands(y.min())} to {as_it_stands(y.max())}, mean "
                f"{written(float(y.mean()))}",
            ]
        )
    return facts


def _n_trained(estimator: Estimator, n_samples: int) -> str:
    """Return how many samples the training used, and what the others are."""
    assert estimator.trajectory_ is not None
    rows = [record.rows for record in estimator.trajectory_.records]
    n_trained = len(torch.cat(rows).unique())
    if n_trained == n_samples:
        return f"{n_samples:,}"
    return (
        f"{n_trained:,} of {n_samples:,}; the other {n_samples - n_trained:,} were "
        "held out"
    )


def scores_dict(findings: Audit) -> list[Content]:
    """Return score and loss on each data set, and a baseline's score."""
    return [
        {
            "name": name,
            "measure": skill.measure,
            "n": n,
            "score": _number(score),
            "loss": _number(loss),
            "baseline": _number(skill.baseline),
            "constant": skill.constant[:_LABEL_CHARACTERS],
        }
        for name, skill in findings.skills.items()
        for score, loss, n in [findings.judged[name]]
    ]


def _warnings(skill: Skill) -> list[str]:
    """Say so where the model is no better than one that does not look at the data."""
    return [] if skill.has_learnt else [skill.in_words()]


def applied_dict(
    content: Mapping[str, Any],
    decisions: Decisions,
    refit: str,
    after: Mapping[str, tuple[float, float, int]],
) -> Content:
    """Return the content with the effect of decisions."""
    scores = [
        {
            **row,
            "score_after": _number(after[row["name"]][0]),
            "loss_after": _number(after[row["name"]][1]),
        }
        for row in content["scores"]
    ]
    applied = {
        "kept": len(decisions.kept),
        "removed": len(decisions.removed),
        "relabelled": len(decisions.relabelled),
        "refit": refit,
    }
    return {**content, "scores": scores, "applied": applied}


def _distribution(findings: Audit) -> Content:
    """Return a histogram of the scores; 0 is an edge, between harmful and helpful."""
    scores = findings.scores[np.isfinite(findings.scores)]
    low, high = min(scores.min(), 0.0), max(scores.max(), 0.0)
    width = ((high - low) or 1.0) / _N_BINS
    first, last = np.floor(low / width), np.ceil(high / width)
    edges = width * np.arange(first, last + 1)
    # Rounding may have left the extremes outside.
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
    return {
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "n_harmful": int((scores < 0).sum()),
        "threshold": _number(findings.scores[findings.suspects].max(initial=-np.inf)),
    }


def _check(check: InfluenceCheck | None) -> Content | None:
    if check is None:
        return None
    return {
        "verdict": check.verdict,
        "n": len(check.samples),
        "correlation": _number(check.correlation),
        "interval": [_number(end) for end in check.confidence_interval],
        "level": check.level,
        "slope": _number(check.slope),
        "relative_error": _number(check.relative_error),
        "n_groups": len(check.subsets),
        "lds": _number(check.lds),
        "lds_interval": [_number(end) for end in check.lds_interval],
        "metasmoothness": _number(check.metasmoothness),
        "estimated": check.estimated.tolist(),
        "exact": check.exact.tolist(),
    }


def curve_dict(search: object) -> Content:
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
        "means": [_number(value) for value in table.mean(axis=0)[order]],
        "errors": None if error is None else [_number(v) for v in error[order]],
        "n_folds": len(table),
    }


def _suspects(
    findings: Audit, shown: Sequence[Content], places: Places
) -> list[Content]:
    """Return a dict for each suspect."""
    most = findings.harmed.most
    return [
        {
            "sample": int(row),
            "given": _label(findings.labels[k], places),
            "predicted": _label(findings.predictions[k], places),
            "influence": _number(findings.influence[row]),
            "score": _number(findings.scores[row]),
            **_spread(findings.over_runs, row),
            **_probabilities(findings, k, places),
            **_gain(findings.by_label[k]),
            "path": [_number(value) for value in findings.paths[k]],
            "harms": [
                [int(other), _number(value)]
                for other, value in zip(most.rows[k], most.influence[k], strict=True)
                if value < 0
            ],
            **shown[k],
        }
        for k, row in enumerate(findings.suspects)
    ]


def _alike(suspects: list[Content], samples: Showing) -> list[Content]:
    """Note in suspects that are the same as an earlier one which one that is."""
    first: dict[Hashable, int] = {}
    for suspect in suspects:
        row = suspect["sample"]
        same = first.setdefault((suspect["given"], samples.key(row)), row)
        if same != row:
            suspect["alike"] = same
    return suspects


def _by_label(findings: Audit, y: np.ndarray, places: Places) -> list[list[int]]:
    """Return label, number of samples and of suspects, for those that have any."""
    assert places is not None
    labels, counts = np.unique(y, return_counts=True)
    n_samples = {_label(k, places): int(n) for k, n in zip(labels, counts, strict=True)}
    suspects = Counter(_label(label, places) for label in findings.labels)
    return [[label, n_samples[label], n] for label, n in suspects.most_common()]


def _spread(over_runs: ScoresOverRuns | None, row: int) -> Content:
    """Return the score's standard error, and how many runs agree in sign."""
    if over_runs is None:
        return {}
    n_used = int(over_runs.n_used[row])
    return {
        "standard_error": _number(over_runs.standard_error[row]),
        "n_runs": n_used,
        "n_agree": round(float(over_runs.sign_agreement[row]) * n_used),
    }


def _probabilities(findings: Audit, k: int, places: Places) -> Content:
    if findings.probabilities is None or places is None:
        return {}
    proba = findings.probabilities[k]
    return {
        "probability": _number(proba[_label(findings.predictions[k], places)]),
        "probability_given": _number(proba[_label(findings.labels[k], places)]),
    }


def _gain(by_label: np.ndarray | np.floating) -> Content:
    """Return the best other label with its gain, or the slope of the target."""
    if not isinstance(by_label, np.ndarray):
        return {"slope": _number(by_label)}
    best = int(np.argmin(by_label))
    if not by_label[best] < 0:
        return {"proposal": None, "gain": 0.0}
    return {"proposal": best, "gain": _number(-by_label[best])}


def _validation(harmed: Harmed, others: Showing | None, places: Places) -> Content:
    """Return a dict for each validation sample that is shown, by its row."""
    rows = np.unique(harmed.most.rows[harmed.most.influence < 0])
    shown = [{}] * len(rows) if others is None else others.show(rows)
    return {
        str(row): {
            "given": _label(harmed.labels[row], places),
            "predicted": _label(harmed.predictions[row], places),
            **entry,
        }
        for row, entry in zip(rows, shown, strict=True)
    }


def _label(value: Any, places: Places) -> Any:
    """Return the index of a label, or a target."""
    if places is not None:
        return places[value.item() if hasattr(value, "item") else value]
    # As it stands, in its own precision: as a double, the float 0.1 has 17 digits.
    return float(str(value)) if np.isfinite(value) else None


def _number(value: SupportsFloat) -> float | None:
    """Return a number to five digits; None for what JSON lacks, NaN and infinity."""
    number = float(value)
    return float(f"{number:.5g}") if np.isfinite(number) else None
