"""How the labels are confused, for the query, and which are probably wrong."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from ..estimators import RecordedRun
from ..queries import corrected_error, estimate_transition, is_usable, spread_of
from ..trajectory import on_threads
from ._data import CleaningData, Samples
from ._ranking import Run, fit_run, over_runs, plan_runs, validation_of
from ._splits import n_random_folds, random_folds

CORRECTED = corrected_error.__name__
"""Asks for the estimate by name."""

UNESTIMATED = replace(corrected_error(np.eye(2)), n_classes=None)
"""Stands for the query in checks, before the matrix is known."""

# Classes that are not as easy to recognize differ so much, without a wrong label.
_LEAST_SPREAD = 0.2

# Of fewer, those that are looked at would be most of the class, sure or not.
_LEAST_OF_CLASS = 50

# Of what models think of a class, so much is left where the correction leaves nothing.
_LEAST_LEFT = 1e-3


def is_estimable(data: CleaningData) -> bool:
    """Return whether there are enough samples of each of two classes or more."""
    return not _lack(data)


def _taking_part(data: CleaningData) -> tuple[np.ndarray, CleaningData]:
    """Return the samples but those of weight 0, which take no part, and their rows."""
    weights = data.params.get("sample_weight")
    rows = (
        np.arange(len(data)) if weights is None else np.flatnonzero(np.asarray(weights))
    )
    if len(rows) == len(data):
        return rows, data  # which may be too large to be copied
    return rows, data.take(rows)


def _lack(data: CleaningData) -> str:
    """Return why nothing can be estimated from the samples; "" if it can."""
    if data.y.ndim > 1:
        return "several labels for each sample"
    (_, part), classes = _taking_part(data), np.unique(data.y)
    if n_random_folds(part) < 2:
        return "a single group"
    codes = np.searchsorted(classes, part.y)
    counts = np.bincount(codes, minlength=len(classes))
    if len(classes) < 2:
        return "a single class"
    if counts.min() < _LEAST_OF_CLASS:
        return f"{counts.min()} of {classes.tolist()[counts.argmin()]!r:.200}"
    return ""


def check_estimable(data: CleaningData) -> None:
    """Refuse to correct a query for what cannot be estimated."""
    if data.validation is not None:
        raise ValueError(
            f"`query` can be {CORRECTED!r} only for samples that are held out, whose "
            "labels are as noisy as the others, got X_val as well. For noisy "
            "validation labels give queries.corrected_error(transition), with a matrix "
            "that is known or that queries.estimate_transition returns."
        )
    if lack := _lack(data):
        raise ValueError(
            f"`query` can be {CORRECTED!r} only with one label for each sample, of at "
            f"least two classes with {_LEAST_OF_CLASS} samples each (in each fold, if "
            "`n_remove` is chosen by folds), and with two groups or none, got "
            f"{lack}. Use 'auto', or queries.corrected_error(transition) with a known "
            "matrix."
        )


class LabelNoise(NamedTuple):
    """What models say about the labels of samples that they were not trained on.

    Attributes
    ----------
    transition : ndarray of shape (n_classes, n_classes)
        How the labels seem to be confused.
    query : str or SampleMeasure
        The query, corrected where one class is mistaken much more often than another.
    label_probability : ndarray of shape (n_samples,)
        How probable each sample's label is to be right; NaN for those of weight 0.
    """

    transition: np.ndarray
    query: Any
    label_probability: np.ndarray


def estimate_label_noise(
    estimator: Any,
    data: CleaningData,
    seed: int,
    memory: Any,
    n_jobs: int | None,
    verbose: int,
    *,
    needed: bool,
) -> LabelNoise | None:
    """Return the noise in the labels, or None if the models hardly tell classes apart.

    That is an error where it is `needed`. Then the query is corrected for small
    differences between the classes too.
    """
    rows, part = _taking_part(data)
    splits = random_folds(part, seed, classifier=True)
    if sum(len(held_out) for _, held_out in splits) < len(part):
        _refuse(needed, "with two groups or more of each class, in folds of groups")
        return None
    runs = plan_runs(_in_memory(estimator), None, splits, [seed])
    found = _held_out_probabilities(runs, part, memory, n_jobs, verbose)
    transition = _transition_of(found, part.y, needed=needed)
    if transition is None:
        return None
    corrected = spread_of(transition) >= (0 if needed else _LEAST_SPREAD)
    query = _corrected(transition, estimator, part.y) if corrected else "error"
    probability = np.full(len(data), np.nan)
    # Noise that is the same for all classes does not change the order.
    probability[rows] = (
        label_probability(found, part.y, transition)
        if corrected
        else _of_label(found, part.y)
    )
    return LabelNoise(transition, query, probability)


def label_probability(
    probabilities: np.ndarray, y: np.ndarray, transition: np.ndarray
) -> np.ndarray:
    """Return how probable each label is to be right, by Bayes' rule.

    From the `probabilities` of the labels given the inputs, by models that were trained
    on such labels, and from how labels are confused.
    """
    codes = np.unique(y, return_inverse=True)[1]
    right = probabilities @ np.linalg.inv(transition)
    # An estimate of a probability can be negative; the order stays that of the models.
    # No class is impossible, however sure they are: another label than theirs may be
    # one that theirs is never mistaken for.
    least = np.finfo(np.float64).eps
    right = np.maximum(right, _LEAST_LEFT * np.maximum(probabilities, least))
    joint = right * transition[:, codes].T
    return _of_label(joint, y) / joint.sum(axis=1)


def _of_label(values: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return what stands in each row under the sample's label."""
    codes = np.unique(y, return_inverse=True)[1]
    return np.asarray(values[np.arange(len(codes)), codes])


def _held_out_probabilities(
    runs: Sequence[Run],
    data: CleaningData,
    memory: Any,
    n_jobs: int | None,
    verbose: int,
) -> np.ndarray:
    """Return the samples' probabilities by models that were trained without them.

    The mean over the epochs of recorded runs, which have not memorized wrong labels
    from the beginning. A column for each class in `data`, float64.
    """
    parts = over_runs(
        _probabilities, runs, data, memory, n_jobs, verbose, words="Label noise"
    )
    found = np.zeros((len(data), len(np.unique(data.y))))
    for run, part in zip(runs, parts, strict=True):
        found[run.validation] = part
    return found


def _transition_of(
    probabilities: np.ndarray, y: np.ndarray, *, needed: bool
) -> np.ndarray | None:
    """Return the estimated matrix, or None if the models hardly tell the classes apart.

    That is an error where it is `needed`.
    """
    transition = estimate_transition(probabilities, y)
    if is_usable(transition):
        return transition
    _refuse(
        needed,
        "where the estimator can tell the classes apart: on held-out samples it "
        f"predicts them with these labels, {transition.round(2).tolist()}. Train "
        "longer or another way",
    )
    return None


def _refuse(needed: bool, otherwise: str) -> None:
    """Raise an error that says when an estimate is possible, if it is needed."""
    if needed:
        raise ValueError(
            f"`query` can be {CORRECTED!r} only {otherwise}, or use query='error'."
        )


def _corrected(transition: np.ndarray, estimator: Any, y: np.ndarray) -> Any:
    """Return the query under a matrix of the classes in `y`.

    Other classes that the estimator was told of are never confused.
    """
    found = np.unique(y)
    told = getattr(estimator, "classes", None)
    # Those that it was told are its classes_ in the order in which they were given.
    classes = found if told is None else np.asarray(told)
    order = np.argsort(classes)
    places = order[np.searchsorted(classes, found, sorter=order)]
    whole = np.eye(len(classes))
    whole[np.ix_(places, places)] = transition
    return corrected_error(whole)


def _probabilities(
    key: str, run: Run, data: CleaningData, fitted: None, n_threads: int
) -> np.ndarray:
    """Return the probabilities of a run's held-out samples; `key` is the cache's."""
    with on_threads(n_threads):
        model = fit_run(run, data)
        found = mean_probabilities(model, validation_of(run, data).X)
    classes = np.unique(data.y)
    known = np.isin(model.classes_, classes)
    probabilities = np.zeros((len(found), len(classes)))
    probabilities[:, np.searchsorted(classes, model.classes_[known])] = found[:, known]
    return probabilities


def mean_probabilities(model: Any, X: Samples) -> np.ndarray:
    """Return the mean probabilities over the recorded epochs, or the final ones."""
    if not hasattr(model, "trajectory_"):
        return np.asarray(model.predict_proba(X))
    total, count = np.zeros(()), 0
    for _, of_epoch in RecordedRun.of(model).epoch_models():
        total, count = total + of_epoch.predict_proba(X), count + 1
    return total / count


def _in_memory(estimator: Any) -> Any:
    """Return an unfitted copy whose runs leave nothing on the disk."""
    copy = clone(estimator)
    if hasattr(copy, "trajectory_dir"):
        copy.set_params(trajectory_dir=None)
    return copy
