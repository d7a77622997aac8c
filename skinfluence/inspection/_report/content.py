"""The findings of an audit as a plain dict that can be written as JSON."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import torch
from sklearn.base import is_classifier

from ..._version import __version__
from ...cleaning import Decisions
from ...estimators import InfluenceCheck, Skill
from .._style import described, measure_in_words, unit_of_loss
from .._typing import Estimator
from .audited import Audited
from .cells import check_repairs, mark_cells
from .findings import Audit, audit
from .issues import issues_dict
from .options import Options
from .samples import Showing, Texts, shown_as
from .slices import slices_dict
from .suspects import Places, alike, label_of, suspects_of, validation_of
from .values import as_it_stands, json_number, written
from .words import mark_words, telling_words

_N_BINS = 60
_LABEL_CHARACTERS = 40
_AT = {
    "final": "of the final model",
    "epochs": "averaged over the models at all epoch ends",
    "path": "along training (the model after epoch e has weight 1/e)",
}

Content: TypeAlias = dict[str, Any]


def content_of(data: Audited, options: Options) -> Content:
    """Do the work, and return all that a page shows."""
    samples, others = _showings(data, options)
    findings = audit(data, options)
    shown = _shown(data.estimator, samples, findings, options)
    estimator, y = data.estimator, data.y
    classes = estimator.classes_.tolist() if is_classifier(estimator) else None
    places = None if classes is None else {c: k for k, c in enumerate(classes)}
    assert estimator.trajectory_ is not None  # the influence comes from it
    n_epochs = int(estimator.trajectory_.n_epochs)
    interval = options.ranked.interval
    return {
        **_head(options, findings),
        "fingerprint": findings.fingerprint,
        "unit": described(estimator, options.query)["unit"],
        "loss_unit": unit_of_loss(estimator),
        "facts": _facts(estimator, n_epochs, y),
        "slices": _slices(data, options, findings),
        "issues": _issues(options, findings),
        "scores": scores_dict(findings),
        "n_samples": len(y),
        "distribution": _distribution(findings),
        "check": _check(findings.check),
        "applied": None,
        "ranked_by_influence": options.ranked.scores is None,
        "level": None if interval is None else interval.level,
        "epochs": n_epochs,
        "classes": None if classes is None else [str(label) for label in classes],
        "shows_harmed": findings.harmed.most.rows.size > 0,
        "by_label": None if places is None else _by_label(findings, y, places),
        "suspects": alike(suspects_of(findings, shown, places), samples),
        "validation": validation_of(findings.harmed, others, places),
    }


def _showings(data: Audited, options: Options) -> tuple[Showing, Showing | None]:
    """Return how samples and, if they can be, validation samples are shown."""
    how = options.image_shape, options.feature_names, options.columns
    samples = shown_as("raw", options.raw, "X", data.X, *how)
    if options.repairs is not None:
        check_repairs(options.repairs, samples, len(data.y))
    if options.raw is not None and options.raw_val is None:
        return samples, None
    X_val, _ = data.judges["validation"]
    return samples, shown_as("raw_val", options.raw_val, "X_val", X_val, *how)


def _shown(
    estimator: Estimator, samples: Showing, findings: Audit, options: Options
) -> list[Content]:
    """Return the suspects as they are shown, their words or cells marked."""
    rows, names = findings.suspects, options.feature_names
    shown = samples.show(rows)
    if isinstance(samples, Texts) and names is not None:
        mark_words(shown, rows, telling_words(estimator, rows, list(names)))
    if options.repairs is not None:
        mark_cells(shown, rows, options.repairs)
    return shown


def _slices(data: Audited, options: Options, findings: Audit) -> Content | None:
    if options.slices is None:
        return None
    return slices_dict(
        data.estimator,
        options.slices,
        data.judges["validation"],
        findings.influence,
        options.random_state,
        {"at": options.at, "query": options.query},
    )


def _issues(options: Options, findings: Audit) -> list[Content] | None:
    if options.issues is None:
        return None
    index = getattr(options.raw, "index", None)
    return issues_dict(options.issues, findings.influence, index)


def _head(options: Options, findings: Audit) -> Content:
    """Return what is known of the report besides its findings."""
    at, query = options.at, options.query
    skill = options.skill or findings.skills["validation"]
    return {
        "title": options.title,
        "created": datetime.now().astimezone().isoformat(timespec="minutes"),
        "version": __version__,
        "measure": measure_in_words(query),
        "measured": _AT.get(at if isinstance(at, str) else "", "of chosen epochs")
        + ("; kinks are smoothed on the way back" if options.smoothing else ""),
        "about": [[str(k), str(value)] for k, value in (options.about or {}).items()],
        "columns": [list(map(str, column)) for column in options.columns or ()],
        "warnings": [*_warnings(skill), *options.warnings],
        "skill": {"said": skill.in_words(), "has_learnt": skill.has_learnt},
        "apply_command": options.apply_command,
        "curve": options.curve,
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
            "score": json_number(score),
            "loss": json_number(loss),
            "baseline": json_number(skill.baseline),
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
            "score_after": json_number(after[row["name"]][0]),
            "loss_after": json_number(after[row["name"]][1]),
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
        "threshold": json_number(
            findings.scores[findings.suspects].max(initial=-np.inf)
        ),
    }


def _check(check: InfluenceCheck | None) -> Content | None:
    if check is None:
        return None
    return {
        "verdict": check.verdict,
        "n": len(check.samples),
        "correlation": json_number(check.correlation),
        "interval": [json_number(end) for end in check.confidence_interval],
        "level": check.level,
        "slope": json_number(check.slope),
        "relative_error": json_number(check.relative_error),
        "n_groups": len(check.subsets),
        "lds": json_number(check.lds),
        "lds_interval": [json_number(end) for end in check.lds_interval],
        "metasmoothness": json_number(check.metasmoothness),
        "estimated": check.estimated.tolist(),
        "exact": check.exact.tolist(),
    }


def _by_label(findings: Audit, y: np.ndarray, places: Places) -> list[list[int]]:
    """Return label, number of samples and of suspects, for those that have any."""
    assert places is not None
    labels, counts = np.unique(y, return_counts=True)
    n_samples = {
        label_of(k, places): int(n) for k, n in zip(labels, counts, strict=True)
    }
    suspects = Counter(label_of(label, places) for label in findings.labels)
    return [[label, n_samples[label], n] for label, n in suspects.most_common()]
