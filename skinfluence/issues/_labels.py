"""Rare classes, labels that are probably wrong, and rows unlike all others."""

from collections.abc import Iterator

import numpy as np
from sklearn.ensemble import IsolationForest

from ..cleaning import rare_classes
from ..estimators import extreme_targets
from ._finding import Finding, counted, share
from ._table import Table

_FAR = 6.0  # deviations of the isolation score from its median


def rare(codes: np.ndarray, classes: np.ndarray) -> Iterator[Finding]:
    """Yield classes with less than a fifth of the mean number of samples."""
    for code in rare_classes(codes):
        rows = np.flatnonzero(codes == code)
        yield Finding(
            "rare_class",
            f"Class {str(classes[code])!r} has {counted(len(rows), 'row')} "
            f"({share(len(rows) / len(codes))}).",
            "Weight the classes, collect more of it, or merge it with another.",
            len(rows) / len(codes),
            rows,
            about=[str(classes[code])],
        )


def label_errors(codes: np.ndarray, probabilities: np.ndarray) -> Iterator[Finding]:
    """Yield the off-diagonal of the confident joint, the least probable label first."""
    own = probabilities[np.arange(len(codes)), codes]
    # The mean probability of a class where it is the label: above it, one is sure.
    sums = np.bincount(codes, own, probabilities.shape[1])
    counts = np.bincount(codes, minlength=probabilities.shape[1])
    thresholds = sums / counts  # every class has a sample
    sure = np.where(probabilities >= thresholds, probabilities, -1.0)
    wrong = (sure.max(axis=1) >= 0) & (sure.argmax(axis=1) != codes)
    rows = np.flatnonzero(wrong)
    if not len(rows):
        return
    verb = "has a label that is" if len(rows) == 1 else "have labels that are"
    yield Finding(
        "label_errors",
        f"{counted(len(rows), 'row')} ({share(len(rows) / len(codes))}) {verb} "
        "probably wrong.",
        "Review them, the first ones first.",
        len(rows) / len(codes),
        rows[np.argsort(own[rows], kind="stable")],
    )


def outliers(table: Table, y: np.ndarray | None) -> Iterator[Finding]:
    """Yield rows that few random splits set apart from all others.

    And, of numbers to predict, those far from all others.
    """
    far = np.zeros(len(table), dtype=bool) if y is None else extreme_targets(y)
    scores = _isolation(table)
    middle = np.median(scores)
    # 1.4826 makes it the standard deviation of normal data.
    spread = 1.4826 * np.median(np.abs(scores - middle))
    far |= scores < middle - _FAR * spread
    rows = np.flatnonzero(far)
    if not len(rows):
        return
    verb = "is" if len(rows) == 1 else "are"
    yield Finding(
        "outliers",
        f"{counted(len(rows), 'row')} ({share(len(rows) / len(table))}) {verb} far "
        "from all others.",
        "Look for errors of entry and units.",
        len(rows) / len(table),
        rows[np.argsort(scores[rows], kind="stable")],
    )


def _isolation(table: Table) -> np.ndarray:
    """Return the isolation scores [Liu et al. 2008]: low is far from the others."""
    columns = []
    for name in table.names:
        values = table.numbers.get(name)
        if values is None:  # how rare a word is
            cells = table.frame[name].astype(object).map(str)
            values = np.log(cells.map(cells.value_counts()).to_numpy(np.float64))
        known = values[np.isfinite(values)]
        middle = np.median(known) if len(known) else 0.0
        columns.append(np.where(np.isfinite(values), values, middle))
    inputs = np.clip(np.stack(columns, axis=1), -1e30, 1e30)
    forest = IsolationForest(random_state=0, n_jobs=1)
    return np.asarray(forest.fit(inputs).score_samples(inputs))
