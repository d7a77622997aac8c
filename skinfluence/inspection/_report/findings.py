"""The findings of an audit: the estimator's answers about its most harmful samples."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import is_classifier
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from ...cleaning import data_fingerprint
from ...estimators import (
    HarmBySample,
    InfluenceCheck,
    Skill,
    check_query,
    final_model,
    harm_by_sample,
    metric_of,
    skill,
)
from ...exceptions import InfluenceReliabilityWarning
from .._style import extremes
from .._typing import Estimator
from .audited import Audited
from .options import Options
from .ranked import Ranked

# Points of a path: enough for a sparkline, where all epochs would bloat the page.
_POINTS = 24


@dataclass(frozen=True)
class Harmed:
    """The validation samples that suspects harm most.

    Attributes
    ----------
    most : HarmBySample
        Their rows, and the change on each; none where they were not asked for.
    labels, predictions : ndarray of shape (n_val,)
        Those of all validation samples.
    """

    most: HarmBySample
    labels: np.ndarray
    predictions: np.ndarray


@dataclass(frozen=True)
class Audit:
    """The findings.

    Attributes
    ----------
    influence : ndarray of shape (n_samples,)
        Influence of all training samples.
    scores : ndarray of shape (n_samples,)
        What they are ranked by, the lowest first: the influence, or other scores.
    ranked : Ranked
        What is known of these scores, if they are not the influence.
    suspects : ndarray of shape (n_suspects,), int
        The lowest of them, the lowest first.
    labels : ndarray of shape (n_suspects,)
        Their given labels or targets.
    predictions : ndarray of shape (n_suspects,)
        What the estimator predicts for them.
    probabilities : ndarray of shape (n_suspects, n_classes), or None
        A classifier's probability of each label.
    by_label : ndarray of shape (n_suspects, n_classes), or (n_suspects,)
        Label influence, or the derivative of the loss with respect to the target.
    paths : ndarray of shape (n_suspects, n_points)
        Their influence accumulated over the epochs, from 0.
    harmed : Harmed
        The validation samples that they harm.
    check : InfluenceCheck or None
        The comparison of the estimate with exact retraining.
    judged : dict of str to (float, float, int)
        Score, loss and number of samples of the validation and of the test data.
    skills : dict of str to Skill
        The scores there, and those of a model that does not look at the samples.
    fingerprint : str
        Digest of the data.
    """

    influence: np.ndarray
    scores: np.ndarray
    ranked: Ranked
    suspects: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray | None
    by_label: np.ndarray
    paths: np.ndarray
    harmed: Harmed
    check: InfluenceCheck | None
    judged: Mapping[str, tuple[float, float, int]]
    skills: Mapping[str, Skill]
    fingerprint: str


def audit(data: Audited, options: Options) -> Audit:
    """Compute all that a report shows."""
    estimator, X, y, judges = data
    X_val, y_val = judges["validation"]
    question = options.question
    _check_harmed(estimator, options)
    # Its sum over the epochs is the influence: one retrace gives both.
    by_epoch = estimator.influence_by_epoch(X_val, y_val, **question)
    influence = by_epoch.sum(axis=1)
    ranked = options.ranked
    scores = influence if ranked.scores is None else ranked.scores
    suspects = extremes(scores, options.n, 0)[0]
    if options.harmful_only and ranked.by_harm:
        suspects = suspects[scores[suspects] < 0]
    n_harmed = options.n_harmed if len(suspects) else 0
    of_labels = "label_influence" if is_classifier(estimator) else "target_influence"
    with warnings.catch_warnings():
        # influence_by_epoch has issued the warning already.
        warnings.simplefilter("ignore", InfluenceReliabilityWarning)
        by_label = getattr(estimator, of_labels)(X_val, y_val, **question)[suspects]
        harmed = _harmed(estimator, X_val, y_val, suspects, n_harmed, question)
        check = None
        if options.n_check:
            check = estimator.check_influence(
                X_val,
                y_val,
                options.n_check,
                random_state=options.random_state,
                **question,
            )
    predictions, probabilities = _predicted(data, suspects)
    return Audit(
        influence,
        scores,
        ranked,
        suspects,
        y[suspects],
        predictions,
        probabilities,
        by_label,
        _paths(by_epoch[suspects]),
        harmed,
        check,
        {name: judge(estimator, *data) for name, data in judges.items()},
        {name: _skill(estimator, y, *data) for name, data in judges.items()},
        fingerprint_of(X, options.raw, y),
    )


def _check_harmed(estimator: Estimator, options: Options) -> None:
    """Refuse to look for single samples that are harmed where none has a measure."""
    check_query(estimator, options.query)
    if options.n_harmed and metric_of(estimator, options.query) is not None:
        raise ValueError(
            "`n_harmed` must be 0 for a query of the whole validation set, which "
            f"single samples do not have, got {options.n_harmed} with query="
            f"{options.query!r}."
        )


def _predicted(data: Audited, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return predictions of samples, and a classifier's probability of each label."""
    # Estimators refuse data without rows.
    if not len(rows):
        return data.y[rows], None
    X, estimator = _safe_indexing(data.X, rows), data.estimator
    if not hasattr(estimator, "predict_proba"):
        return estimator.predict(X), None
    return estimator.predict(X), estimator.predict_proba(X)


def judge(estimator: Estimator, X: object, y: ArrayLike) -> tuple[float, float, int]:
    """Return score, mean loss and number of samples."""
    with torch.no_grad():
        loss = float(final_model(estimator).query(X, y).here())
    return float(estimator.score(X, y)), loss, _num_samples(X)


def _skill(estimator: Estimator, y: np.ndarray, X: object, y_val: ArrayLike) -> Skill:
    found = skill(estimator, X, y_val, y=y)
    assert found is not None  # both targets are given
    return found


def fingerprint_of(X: object, raw: object, y: ArrayLike) -> str:
    """Return the digest of the data, as the estimator saw it and as it is shown."""
    return "+".join(
        dict.fromkeys(
            data_fingerprint(data, y) for data in (X, raw) if data is not None
        )
    )


def _paths(by_epoch: np.ndarray) -> np.ndarray:
    """Return the influence accumulated from 0 up to some of the epochs."""
    total = np.pad(by_epoch.cumsum(axis=1), ((0, 0), (1, 0)))
    points = np.unique(np.linspace(0, total.shape[1] - 1, _POINTS).round().astype(int))
    return total[:, points]


def _harmed(
    estimator: Estimator,
    X_val: object,
    y_val: ArrayLike,
    suspects: np.ndarray,
    k: int,
    question: Mapping[str, Any],
) -> Harmed:
    """Return which validation samples each suspect harms most."""
    if k:
        most = harm_by_sample(estimator, suspects, X_val, y_val, k, **question)
    else:
        most = HarmBySample.none(len(suspects))
    return Harmed(most, np.asarray(y_val), estimator.predict(X_val))
