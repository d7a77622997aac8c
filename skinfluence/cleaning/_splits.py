"""Splits into samples to rank and samples to validate the ranking on."""

import warnings
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, check_cv

from ._data import CleaningData

N_FOLDS = 5
"""Where nothing says how samples are to be held out."""

Split = tuple[np.ndarray, np.ndarray | None]
"""Rows to train on and rows to validate on; None where there is validation data."""


def class_codes(y: np.ndarray, classifier: bool) -> np.ndarray:
    """Return each sample's class as a number from 0.

    For a regressor, and where samples have several labels each, all are 0.
    """
    if not classifier or np.ndim(y) > 1:
        return np.zeros(len(y), dtype=np.intp)
    return np.unique(y, return_inverse=True)[1]


def ranking_splits(
    data: CleaningData, fraction: float | None, cv: Any, seed: int, classifier: bool
) -> list[Split]:
    """Return the splits whose scores make up a ranking.

    One split with all samples if validation data was given; else the folds of `cv`;
    else one that holds out a stratified fraction; else five folds.
    """
    if data.validation is not None:
        if cv is not None:
            raise ValueError("`cv` must be None where X_val is given, got both.")
        splits: list[Split] = [(np.arange(len(data)), None)]
    elif cv is not None:
        splits = [*cv_splits(data, cv, classifier)]
    elif fraction is None:
        folds = random_folds(data, seed, classifier)
        _check_folds(data, folds)
        splits = [*folds]
    else:
        codes = class_codes(data.y, classifier)
        if data.groups is None:
            splits = [set_apart(codes, fraction, seed)]
        else:
            n_folds = max(2, round(1 / fraction))
            splits = [_split_off(_group_folds(codes, data.groups, n_folds, seed))]
    for train, rows in splits:
        if classifier:
            _check_classes(data, train, rows)
        if rows is not None:
            _check_weights(data, rows)
    return splits


def n_random_folds(data: CleaningData) -> int:
    """Return the number of folds: five, or as many as there are groups."""
    return min(N_FOLDS, len(data if data.groups is None else np.unique(data.groups)))


def random_folds(
    data: CleaningData, seed: int, classifier: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return stratified folds; only samples of classes that are left validate.

    The only sample of a class is always trained on, unless that would tear a group.
    """
    codes, n_folds = class_codes(data.y, classifier), max(2, n_random_folds(data))
    folds = stratified_folds(codes, data.groups, n_folds, seed)
    splits = []
    for number in range(n_folds):
        train, rows = _split_off(folds, number)
        left = np.isin(codes[rows], codes[train])
        if data.groups is None:
            train = np.sort(np.concatenate([train, rows[~left]]))
        splits += [(train, rows[left])] if left.any() else []
    return splits


def _check_folds(
    data: CleaningData, folds: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Refuse folds that validate nothing, or with groups nothing of a class."""
    if not folds:
        raise ValueError(
            "X and y must have samples to train on and to validate on, of the same "
            f"classes and of two groups or none: got n_samples={len(data)}. Give more "
            "samples, or validation data as X_val and y_val."
        )
    if data.groups is None:
        return
    # The samples of such a class would all look harmful.
    apart = np.ones(len(data), dtype=bool)
    for _, rows in folds:
        apart[rows] = False
    if apart.any():
        raise ValueError(
            "`groups` must leave samples of every class to train on, but with those "
            "that are held out together none are left of "
            f"{np.unique(data.y[apart]).tolist()!r:.200}. Leave these classes out, or "
            "give validation data as X_val and y_val."
        )


def cv_splits(
    data: CleaningData, cv: Any, classifier: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the splits of a cross-validation, by groups if there are any."""
    if data.groups is not None and isinstance(cv, Integral):
        codes, n_folds = class_codes(data.y, classifier), int(cv)
        folds = _group_folds(codes, data.groups, n_folds)
        return [_split_off(folds, number) for number in range(n_folds)]
    try:
        splitter = check_cv(cv, data.y, classifier=classifier)
        splits = list(splitter.split(data.X, data.y, data.groups))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`cv` must split the samples into folds, got {cv!r:.200}: {error}"
        ) from error
    if not splits:
        raise ValueError(f"`cv` must make at least one split, got {cv!r:.200}.")
    return [_rows_of(split, len(data)) for split in splits]


def _rows_of(split: Any, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a split as row numbers; refuse what is none."""
    pair = isinstance(split, (tuple, list)) and len(split) == 2
    parts = [np.asarray(part) for part in split] if pair else []
    # scikit-learn's splitters may yield masks too.
    masks = [part.dtype == bool and part.shape == (n_samples,) for part in parts]
    rows = [
        np.flatnonzero(part) if mask else part
        for part, mask in zip(parts, masks, strict=True)
    ]
    if not rows or not all(_are_rows(each, n_samples) for each in rows):
        raise ValueError(
            "`cv` must yield pairs of row numbers, to train on and to hold out, from 0 "
            f"to {n_samples - 1} and some in each, got {split!r:.200}."
        )
    train, test = rows
    return train, test


def _are_rows(rows: np.ndarray, n_samples: int) -> bool:
    numbers = rows.ndim == 1 and len(rows) > 0 and rows.dtype.kind in "iu"
    return numbers and bool(((rows >= 0) & (rows < n_samples)).all())


def _group_folds(
    codes: np.ndarray, groups: np.ndarray, n_folds: int, seed: int | None = None
) -> np.ndarray:
    """Return the number of each sample's fold, the same within a group."""
    n_groups = len(np.unique(groups))
    if n_groups < n_folds:
        raise ValueError(
            f"`groups` must name at least {n_folds} groups, one for each fold, got "
            f"{n_groups}. Use fewer folds, or leave `groups` out."
        )
    splitter = StratifiedGroupKFold(
        n_folds, shuffle=seed is not None, random_state=seed
    )
    folds = np.empty(len(codes), dtype=np.intp)
    with warnings.catch_warnings():
        # Of classes that are too rare for the folds; what that harms is checked.
        warnings.simplefilter("ignore", UserWarning)
        for number, (_, rows) in enumerate(splitter.split(codes, codes, groups)):
            folds[rows] = number
    return folds


def group_part(
    codes: np.ndarray, groups: np.ndarray, share: float, seed: int
) -> np.ndarray:
    """Return a mask of about a share of the samples, in whole groups."""
    n_folds = max(2, round(1 / share))
    return _group_folds(codes, groups, n_folds, seed) == 0


def _split_off(folds: np.ndarray, number: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return np.flatnonzero(folds != number), np.flatnonzero(folds == number)


def set_apart(
    codes: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split off a stratified fraction; a sample of every class is left to train on."""
    n_samples = len(codes)
    count = max(1, round(fraction * n_samples))
    rng = np.random.RandomState(seed)
    # Every k-th sample, after sorting by class: each class gives its share, rounded.
    order = _shuffled_by_class(codes, rng)
    places = (np.arange(count) + rng.uniform()) * n_samples / count
    chosen = order[places.astype(np.intp)]
    chosen = chosen[np.isin(codes[chosen], np.delete(codes, chosen))]
    if not len(chosen):
        raise ValueError(
            "`validation_fraction` must leave samples to train on and to validate on, "
            f"of the same classes: got {fraction} of n_samples={n_samples}. Give more "
            "samples, or validation data as X_val and y_val."
        )
    return np.setdiff1d(np.arange(n_samples), chosen), np.sort(chosen)


def stratified_folds(
    codes: np.ndarray, groups: np.ndarray | None, n_folds: int, seed: int
) -> np.ndarray:
    """Return the number of each sample's fold, drawn at random within the classes.

    With groups, whole groups are drawn, and the classes are balanced as far as that
    goes.
    """
    if groups is not None:
        return _group_folds(codes, groups, n_folds, seed)
    folds = np.empty(len(codes), dtype=np.intp)
    order = _shuffled_by_class(codes, np.random.RandomState(seed))
    folds[order] = np.arange(len(codes)) % n_folds
    return folds


def _shuffled_by_class(codes: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    return np.lexsort((rng.uniform(size=len(codes)), codes))


def _check_classes(
    data: CleaningData, train: np.ndarray, rows: np.ndarray | None
) -> None:
    """Refuse validation labels that the training samples do not have."""
    given = data.validation is not None
    labels = data.validation.y if data.validation is not None else data.y[rows]
    unseen = np.setdiff1d(labels, data.y[train]).tolist()
    if unseen and given:
        raise ValueError(
            f"`y_val` must have only labels that y has, got {unseen} as well. Leave "
            "these samples out."
        )
    if unseen:
        raise ValueError(
            "`cv` must leave samples of every class to train on, but in a fold there "
            f"are none of {unseen}. Use fewer folds, validation_fraction, or leave "
            "rare classes out."
        )


def _check_weights(data: CleaningData, rows: np.ndarray) -> None:
    """Refuse validation samples whose weights are all 0."""
    weights = data.params.get("sample_weight")
    if weights is not None and not np.any(np.asarray(weights)[rows]):
        raise ValueError(
            "`sample_weight` must not be 0 for all samples that are held out for "
            "validation. Leave out samples of weight 0, whole classes too, or give "
            "X_val and y_val."
        )
