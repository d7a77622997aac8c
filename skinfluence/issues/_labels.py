"""Rare classes, labels that no model expects, and numbers far from all others."""

from collections.abc import Iterator

import numpy as np

from .._digits import counted, share
from ..cleaning import rare_classes
from ..estimators import extreme_targets
from ._finding import Finding, counted_of
from ._table import Table


def rare(codes: np.ndarray, classes: np.ndarray, noun: str) -> Iterator[Finding]:
    """Yield classes with less than a fifth of the mean number of samples."""
    for code in rare_classes(codes):
        rows = np.flatnonzero(codes == code)
        yield Finding(
            "rare_class",
            f"Class {str(classes[code])!r} has {counted(len(rows), noun)} "
            f"({share(len(rows) / len(codes))}).",
            "Weight the classes, collect more of it, or merge it with another.",
            len(rows) / len(codes),
            rows,
            about=[str(classes[code])],
        )


def label_errors(
    codes: np.ndarray, probabilities: np.ndarray, noun: str
) -> Iterator[Finding]:
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
    yield Finding(
        "label_errors",
        counted_of(len(rows), len(codes), noun, "has a label", "have labels")
        + " that models trained on the others do not expect.",
        "Review them, the first ones first; where classes overlap, many are right.",
        len(rows) / len(codes),
        rows[np.argsort(own[rows], kind="stable")],
    )


def outliers(table: Table, y: np.ndarray | None) -> Iterator[Finding]:
    """Yield rows with a number, or a target, far from all others of its column."""
    far = {name: _far(values) for name, values in table.numbers.items()}
    names = [name for name, rows in far.items() if rows.any()]
    extreme = np.zeros(len(table), dtype=bool)
    for name in names:
        extreme |= far[name]
    where = [repr(name) for name in names]
    if y is not None and extreme_targets(y).any():
        extreme |= extreme_targets(y)
        where.append("the target")
    rows = np.flatnonzero(extreme)
    if not len(rows):
        return
    more = f" and {len(where) - 5:,} more" if len(where) > 5 else ""
    yield Finding(
        "outliers",
        counted_of(len(rows), len(table), table.noun, "has", "have")
        + " a value more than 20 interquartile ranges from the median, in "
        f"{', '.join(where[:5])}{more}.",
        "Look for errors of entry and units.",
        len(rows) / len(table),
        rows,
        about=names,
    )


def _far(values: np.ndarray) -> np.ndarray:
    """Return which numbers are far from the others; missing ones are not."""
    known = np.flatnonzero(~np.isnan(values))
    found = np.zeros(len(values), dtype=bool)
    if len(known):
        with np.errstate(invalid="ignore", over="ignore"):  # of infinite numbers
            found[known] = extreme_targets(values[known])
    return found
