"""The validation samples that training samples harm most."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import _safe_indexing

from ...influence import SampleQueries, trace_forward
from ...training import SmoothedKinks, TangentStep, differentiating
from .._typing import At, QueryLike, Smoothing
from .estimate import (
    Estimate,
    differentiable_stages,
    estimate,
    parts_in_memory,
    progress_of,
    smoothed,
)
from .later_faults import check_derivatives
from .question import Question, ask, query_of

# How much of the matrix of samples by validation samples is held at once.
_BYTES = 2**27


class HarmBySample(NamedTuple):
    """The validation samples that each of some training samples harms most.

    Attributes
    ----------
    rows : ndarray of shape (n_samples, k), int
        Rows of the validation data, the most harmed first.
    influence : ndarray of the same shape, float64
        Estimated change of the query on each without the training sample.
    """

    rows: np.ndarray
    influence: np.ndarray

    @classmethod
    def none(cls, n_samples: int) -> "HarmBySample":
        """Return no validation sample for any training sample."""
        return cls(np.zeros((n_samples, 0), np.intp), np.zeros((n_samples, 0)))


@differentiating
def harm_by_sample(
    net: Any,
    samples: np.ndarray,
    X_val: object,
    y_val: ArrayLike,
    k: int,
    *,
    query: QueryLike = "loss",
    at: At = "final",
    smoothing: Smoothing = None,
) -> HarmBySample:
    """Find the k validation samples that each training sample harms most.

    The lowest of ``influence(X_val, y_val, aggregate=None)`` in the samples' rows; the
    whole matrix is never in memory. The way through the run is the cheaper one:
    forwards with a change of the parameters for each training sample, or, where they
    are more than the validation samples, backwards with an adjoint for each of these.

    Parameters
    ----------
    net : SGDInfluenceClassifier or SGDInfluenceRegressor
        A fitted estimator whose run was recorded.
    samples : ndarray of shape (n_samples,), int
        The training samples.
    X_val, y_val : array-like
        Validation samples, whose rows can be selected, and their targets.
    k : int
        How many to find for each, at least 1.
    query, at, smoothing : object
        As in ``influence``. With "auto" the width is that of the mean's.

    Returns
    -------
    HarmBySample
        Their rows, and the changes.
    """
    question = ask(net, X_val, y_val, None, query, at, None)
    kinks = _chosen_kinks(net, question, smoothing)
    n_val = len(question.dataset)
    if len(samples) <= n_val:
        return _joined(
            _lowest(changes, np.arange(n_val), k)
            for changes in _forwards(net, question, kinks, samples)
        )
    best = HarmBySample.none(len(samples))
    size = max(1, _BYTES // (8 * question.trajectory.n_samples))
    for start in range(0, n_val, size):
        part = np.arange(start, min(start + size, n_val))
        changes = net.influence(
            _safe_indexing(X_val, part),
            _safe_indexing(y_val, part),
            query=query,
            at=at,
            aggregate=None,
            smoothing=None if kinks is None else kinks.width,
        )[samples]
        rows = np.broadcast_to(part, changes.shape)
        best = _lowest(
            np.concatenate([best.influence, changes], axis=1),
            np.concatenate([best.rows, rows], axis=1),
            k,
        )
    return best


def _forwards(
    net: Any, question: Question, kinks: SmoothedKinks | None, samples: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield the changes of all validation samples, for a part of the samples each."""
    stages, replica = differentiable_stages(net, question, kinks, TangentStep)
    (stage,) = stages
    forth, query = stage.back, query_of(replica, question, SampleQueries)
    assert isinstance(forth, TangentStep)
    assert isinstance(query, SampleQueries)
    most = max(1, _BYTES // (8 * len(question.dataset)))
    for part in parts_in_memory(len(samples), stages, most):
        changes = trace_forward(
            stage.trajectory,
            stage.step,
            query,
            stage.at,
            torch.tensor(samples[part.start : part.stop].tolist()),
            first=stage.first,
            forth=forth,
            progress=progress_of(net),
        )
        yield changes.cpu().numpy()
    check_derivatives(stages, query_of(replica, question))


def _lowest(changes: np.ndarray, rows: np.ndarray, k: int) -> HarmBySample:
    order = np.argsort(changes, axis=1, kind="stable")[:, :k]
    rows = np.broadcast_to(rows, changes.shape)
    return HarmBySample(
        np.take_along_axis(rows, order, axis=1),
        np.take_along_axis(changes, order, axis=1),
    )


def _joined(parts: Iterator[HarmBySample]) -> HarmBySample:
    return HarmBySample(*map(np.concatenate, zip(*parts, strict=True)))


def _chosen_kinks(
    net: Any, question: Question, smoothing: Smoothing
) -> SmoothedKinks | None:
    """Return how to smooth kinks; "auto" is what it is for the mean."""
    if smoothing != "auto":
        return SmoothedKinks(float(smoothing)) if smoothing else None
    tried: list[tuple[SmoothedKinks | None, Estimate]] = []

    def remembered(kinks: SmoothedKinks | None) -> Estimate:
        tried.append((kinks, estimate(net, question, kinks)))
        return tried[-1][1]

    best = smoothed(smoothing, remembered)
    return next(kinks for kinks, found in tried if found is best)
