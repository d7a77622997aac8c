"""How the labels are confused, for a query that is corrected for it."""

from dataclasses import replace
from typing import Any

import numpy as np

from ..queries import corrected_error, estimate_transition, is_usable, spread_of
from ..scorers import unrecorded
from ..trajectory import on_threads
from ._data import CleaningData
from ._ranking import Run, fit_run, over_runs, plan_runs, validation_of
from ._splits import class_codes, stratified_folds

CORRECTED = corrected_error.__name__
"""Asks for the estimate by name."""

UNESTIMATED = replace(corrected_error(np.eye(2)), n_classes=None)
"""Stands for the query in checks, before the matrix is known."""

N_FOLDS = 5

# Classes that are not as easy to recognize differ so much, without a wrong label.
_LEAST_SPREAD = 0.2

# Of fewer, those that are looked at would be most of the class, sure or not.
_LEAST_OF_CLASS = 60


def is_estimable(data: CleaningData) -> bool:
    """Return whether there are enough samples of each of two classes or more."""
    return not _lack(data)


def taking_part(data: CleaningData) -> CleaningData:
    """Return the samples without those of weight 0, which take no part."""
    weights = data.params.get("sample_weight")
    return data if weights is None else data.take(np.flatnonzero(np.asarray(weights)))


def _lack(data: CleaningData) -> str:
    """Return why nothing can be estimated from the samples; "" if it can."""
    if data.y.ndim > 1:
        return "several labels for each sample"
    part, classes = taking_part(data), np.unique(data.y)
    if _n_folds(part) < 2:
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


def held_out_probabilities(
    estimator: Any,
    data: CleaningData,
    seed: int,
    memory: Any,
    n_jobs: int | None,
    verbose: int,
) -> np.ndarray:
    """Return the samples' probabilities by models that were trained without them.

    A column for each class in `data`, float64.
    """
    codes, n_folds = class_codes(data.y, classifier=True), _n_folds(data)
    folds = stratified_folds(codes, data.groups, n_folds, seed)
    splits = [
        (np.flatnonzero(folds != number), np.flatnonzero(folds == number))
        for number in range(n_folds)
    ]
    runs = plan_runs(unrecorded(estimator), None, splits, [seed])
    parts = over_runs(
        _probabilities, runs, data, memory, n_jobs, verbose, words="Label noise"
    )
    found = np.zeros((len(data), codes.max() + 1))
    for (_, held_out), part in zip(splits, parts, strict=True):
        found[held_out] = part
    return found


def transition_of(
    probabilities: np.ndarray, y: np.ndarray, *, needed: bool
) -> np.ndarray | None:
    """Return the estimated matrix, or None if the models hardly tell the classes apart.

    That is an error where it is `needed`.
    """
    transition = estimate_transition(probabilities, y)
    if is_usable(transition):
        return transition
    if needed:
        raise ValueError(
            f"`query` can be {CORRECTED!r} only where the estimator can tell the "
            "classes apart: on held-out samples it predicts them with these labels, "
            f"{transition.round(2).tolist()}. Train longer or another way, or use "
            "query='error'."
        )
    return None


def corrected_query(
    transition: np.ndarray, estimator: Any, y: np.ndarray, *, needed: bool
) -> Any:
    """Return the query under a matrix of the classes in `y`.

    Other classes that the estimator was told of are never confused. Noise that is the
    same for all classes needs no correction: the error ranks the same. What is about
    the same gets one only where it is `needed`.
    """
    if spread_of(transition) < (0 if needed else _LEAST_SPREAD):
        return "error"
    found = np.unique(y)
    told = getattr(estimator, "classes", None)
    # Those that it was told are its classes_ in the order in which they were given.
    classes = found if told is None else np.asarray(told)
    order = np.argsort(classes)
    places = order[np.searchsorted(classes, found, sorter=order)]
    whole = np.eye(len(classes))
    whole[np.ix_(places, places)] = transition
    return corrected_error(whole)


def _n_folds(data: CleaningData) -> int:
    """Return the number of folds: of few groups, one for each."""
    if data.groups is None:
        return N_FOLDS
    return min(N_FOLDS, len(np.unique(data.groups)))


def _probabilities(
    key: str, run: Run, data: CleaningData, fitted: None, n_threads: int
) -> np.ndarray:
    """Return the probabilities of a run's held-out samples; `key` is the cache's."""
    with on_threads(n_threads):
        model = fit_run(run, data)
        found = model.predict_proba(validation_of(run, data).X)
    classes = np.unique(data.y)
    known = np.isin(model.classes_, classes)
    probabilities = np.zeros((len(found), len(classes)))
    probabilities[:, np.searchsorted(classes, model.classes_[known])] = found[:, known]
    return probabilities
