"""The findings of an audit: the estimator's answers about its most harmful samples."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

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
    ScoresOverRuns,
    Skill,
    final_model,
    harm_by_sample,
    skill,
)
from ...exceptions import InfluenceReliabilityWarning
from .._style import check_numbers, extremes
from .._typing import Estimator, RandomState

# Points of a path: enough for a sparkline, where all epochs would bloat the page.
_POINTS = 24

Judges: TypeAlias = Mapping[str, tuple[object, ArrayLike]]


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
    over_runs : ScoresOverRuns or None
        These scores in each of several runs, if that is what they come from.
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
    over_runs: ScoresOverRuns | None
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


def audit(
    estimator: Estimator,
    X: object,
    y: np.ndarray,
    judges: Judges,
    *,
    n: int,
    n_check: int,
    n_harmed: int,
    raw: object,
    scores: np.ndarray | None,
    over_runs: ScoresOverRuns | None,
    harmful_only: bool,
    random_state: RandomState,
    **question: Any,
) -> Audit:
    """Compute all that a report shows; `question` holds `at`, `query`, `smoothing`."""
    X_val, y_val = judges["validation"]
    # Its sum over the epochs is the influence: one retrace gives both.
    by_epoch = estimator.influence_by_epoch(X_val, y_val, **question)
    influence = by_epoch.sum(axis=1)
    ranked = influence if scores is None else scores
    suspects = extremes(ranked, n, 0)[0]
    if harmful_only:
        suspects = suspects[ranked[suspects] < 0]
    n_harmed = n_harmed if len(suspects) else 0
    of_labels = "label_influence" if is_classifier(estimator) else "target_influence"
    with warnings.catch_warnings():
        # influence_by_epoch has issued the warning already.
        warnings.simplefilter("ignore", InfluenceReliabilityWarning)
        by_label = getattr(estimator, of_labels)(X_val, y_val, **question)[suspects]
        harmed = _harmed(estimator, X_val, y_val, suspects, n_harmed, question)
        check = None
        if n_check:
            check = estimator.check_influence(
                X_val, y_val, n_check, random_state=random_state, **question
            )
    # Estimators refuse data without rows.
    predictions, probabilities = y[suspects], None
    if len(suspects):
        X_suspects = _safe_indexing(X, suspects)
        predictions = estimator.predict(X_suspects)
        if hasattr(estimator, "predict_proba"):
            probabilities = estimator.predict_proba(X_suspects)
    return Audit(
        influence,
        ranked,
        over_runs,
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
        fingerprint_of(X, raw, y),
    )


def checked_scores(
    scores: ArrayLike | ScoresOverRuns | None, n_samples: int
) -> tuple[np.ndarray | None, ScoresOverRuns | None]:
    """Return the scores to rank by, and those of several runs if they are given."""
    if scores is None:
        return None, None
    over_runs = scores if isinstance(scores, ScoresOverRuns) else None
    given = scores.mean if isinstance(scores, ScoresOverRuns) else scores
    checked = check_numbers("scores", given, n_samples)
    if not np.isfinite(checked).any():
        raise ValueError("`scores` must be finite for at least one sample, got none.")
    return checked, over_runs


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
