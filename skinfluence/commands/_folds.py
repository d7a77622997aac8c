"""Which rows train and which validate, where there is no validation table."""

import numpy as np

from ._target import CLASSIFICATION, Target

N_FOLDS = 5

Folds = list[tuple[np.ndarray, np.ndarray]]


def make_folds(target: Target, seed: int) -> Folds:
    """Return the rows to train on and those to validate on, for each fold.

    The classes are spread evenly, as far as they go. The only row of a class trains
    each time and validates nothing: no model could know its label otherwise.
    """
    n_rows = len(target.y)
    codes, counts = np.zeros(n_rows, dtype=np.intp), np.array([n_rows])
    if target.task == CLASSIFICATION:
        _, codes, counts = np.unique(target.y, return_inverse=True, return_counts=True)
    mixed = np.random.RandomState(seed).uniform(size=n_rows)
    fold = np.empty(n_rows, dtype=np.intp)
    fold[np.lexsort((mixed, codes))] = np.arange(n_rows) % N_FOLDS
    fold[counts[codes] == 1] = -1
    return [
        (np.flatnonzero(fold != number), np.flatnonzero(fold == number))
        for number in range(N_FOLDS)
    ]
