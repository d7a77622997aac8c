"""Columns that teach nothing, and columns that teach too much."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency, mannwhitneyu, spearmanr
from scipy.stats.contingency import association, crosstab
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from .._digits import counted, share
from ._finding import Finding
from ._table import Table, is_dated

_NEARLY_CONSTANT = 0.999  # the share of one value
_ENOUGH = 5_000  # rows that tell
_FEWEST_ROWS = 15  # so that leaves of five can be told apart in three folds
_NEARLY_ALL = 0.98  # share of the majority's errors that are avoided
_SAME_ORDER = 0.999  # rank correlation with numbers
_FEWEST_IDS = 50  # fewer different numbers may fill their range by chance
_PHONE_DIGITS = 7
_MOST_WORDS = 4  # texts to be read have more, on average
_SURE, _STRONG = 0.001, 0.1  # p-value over all columns, and Cramér's V or |r|
_FEWEST_MISSING = 5


def constant(table: Table) -> Iterator[Finding]:
    """Yield columns with one value in all rows, or in all but a few."""
    names, rows = [], []
    for k, name in enumerate(table.names):
        _, inverse, counts = np.unique(
            table.cells[:, k], return_inverse=True, return_counts=True
        )
        if counts.max() == len(table):
            names.append(name)
        elif counts.max() >= _NEARLY_CONSTANT * len(table):
            others = np.flatnonzero(inverse != counts.argmax())
            rows.append((name, others, counts.max() / len(table)))
    if names:
        yield Finding(
            "constant",
            f"{_quoted(names)} {_has(names)} the same value in every row.",
            "Drop it." if len(names) == 1 else "Drop them.",
            1.0,
            about=names,
        )
    for name, others, most in rows:
        yield Finding(
            "constant",
            f"{name!r} has the same value in all but {counted(len(others), 'row')}.",
            "Look at these rows, or drop the column.",
            most,
            others,
            about=[name],
        )


def identifiers(table: Table) -> Iterator[Finding]:
    """Yield columns that name the rows: whole numbers in order, or codes."""
    for name in table.names:
        if why := _identifies(table, name):
            yield Finding(
                "identifier",
                f"{name!r} {why}; it is left out where rows are compared.",
                "Drop it, if it is a name and no quantity: a model can only learn "
                "single rows from it.",
                1.0,
                about=[name],
            )


def identifying(table: Table) -> list[str]:
    """Return the names of these columns; a pixel names no image."""
    if table.one_unit:
        return []
    return [name for name in table.names if _identifies(table, name)]


def giveaways(table: Table, y: np.ndarray, regression: bool) -> Iterator[Finding]:
    """Yield columns from which alone the target can be told.

    Labels by a small decision tree, on rows that it has not seen; numbers by their
    order.
    """
    rows = np.random.RandomState(0).permutation(len(table))[:_ENOUGH]
    for name in table.names:
        values = table.numbers.get(name)
        if regression:
            found = _tells_number(values, rows, y)
        else:
            found = _tells_label(_codes(table, name), rows, y)
        if found is not None:
            yield Finding(
                "giveaway",
                f"{name!r} alone gives the target away.",
                "Drop it, unless it is known before what it predicts.",
                found,
                about=[name],
            )


def missing(table: Table, y: np.ndarray, regression: bool) -> Iterator[Finding]:
    """Yield columns whose missing values go with the target."""
    for name in table.names:
        absent = table.missing[name]
        if min(absent.sum(), (~absent).sum()) < _FEWEST_MISSING:
            continue
        p_value, strength = (_by_rank if regression else _by_class)(absent, y)
        if p_value * len(table.names) > _SURE or strength < _STRONG:
            continue
        measure = "rank-biserial correlation" if regression else "Cramér's V"
        yield Finding(
            "missing",
            f"{name!r} is missing in {counted(int(absent.sum()), 'row')} "
            f"({share(float(absent.mean()))}), and that goes with the target "
            f"({measure} {strength:.2f}).",
            "Find out why: will it be missing in the same way later?",
            strength,
            np.flatnonzero(absent),
            about=[name],
        )


def numbering(values: np.ndarray) -> str:
    """Return how different whole numbers number rows, or an empty string."""
    n, span, steps = len(values), float(np.ptp(values)), np.diff(values)
    if span <= 1.5 * n:
        return "numbers the rows, in another order"
    if span <= 10 * n and ((steps > 0).all() or (steps < 0).all()):
        return "numbers the rows, with gaps"
    lengths = {len(f"{value:.0f}") for value in values}
    if len(lengths) == 1 and min(lengths) >= _PHONE_DIGITS:
        return f"has another number of {lengths.pop()} digits in every row"
    return ""


def _identifies(table: Table, name: str) -> str:
    """Return how a column names the rows, or an empty string."""
    absent = table.missing[name]
    if absent.any() or len(table) < _FEWEST_IDS or is_dated(table.frame[name]):
        return ""
    if name in table.numbers:
        values = table.numbers[name]
        if not np.isfinite(values).all() or (values % 1 != 0).any():
            return ""
        if (np.diff(values) == 1).all():
            return "numbers the rows"
        # By the digests: long numbers may be the same as float64.
        distinct = len(np.unique(table.digests(name)))
        return numbering(values) if distinct == len(values) else ""
    texts = table.frame[name].map(str)
    n_words = texts.str.count(r"\w\w+").mean()
    if texts.nunique() < len(texts) or n_words >= _MOST_WORDS:
        return ""
    return "is different in every row"


def _codes(table: Table, name: str) -> np.ndarray:
    """Return a column as numbers, with missing ones below all others."""
    values = table.numbers.get(name)
    if values is None:
        values = pd.factorize(table.frame[name].astype(object).map(str))[0]
    values = np.asarray(values, dtype=np.float64)
    values = np.clip(values, -1e30, 1e30)  # a tree takes float32, and no infinity
    lowest = values[~table.missing[name]].min(initial=0.0)
    # A missing cell may tell too: any tree splits it off.
    return np.where(table.missing[name], lowest - 1 - abs(lowest), values)


def _tells_label(values: np.ndarray, rows: np.ndarray, y: np.ndarray) -> float | None:
    """Return how many of the majority's errors a column avoids, if nearly all."""
    values, y = values[rows], y[rows]
    if len(y) < _FEWEST_ROWS:
        return None
    tree = DecisionTreeClassifier(min_samples_leaf=5, random_state=0)
    found = cross_val_predict(tree, values[:, None], y, cv=KFold(3))
    _, counts = np.unique(y, return_counts=True)
    majority = 1 - counts.max() / len(y)
    if majority == 0:
        return None
    avoided = 1 - float((found != y).mean()) / majority
    return avoided if avoided >= _NEARLY_ALL else None


def _tells_number(
    values: np.ndarray | None, rows: np.ndarray, y: np.ndarray
) -> float | None:
    """Return the rank correlation with the target, if the order is nearly the same."""
    if values is None:
        return None
    values, y = values[rows], y[rows]
    known = ~np.isnan(values)
    distinct = len(np.unique(values[known]))
    if known.mean() < 0.5 or distinct < max(0.5 * len(np.unique(y)), 2):
        return None
    found = abs(float(spearmanr(values[known], y[known]).statistic))
    return found if found >= _SAME_ORDER else None


def _by_class(absent: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the p-value of independence from the classes, and Cramér's V."""
    table = crosstab(absent, y).count
    p_value = float(chi2_contingency(table).pvalue)
    return p_value, float(association(table, method="cramer"))


def _by_rank(absent: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the p-value of equal ranks, and the rank-biserial correlation."""
    test = mannwhitneyu(y[absent], y[~absent])
    n_pairs = absent.sum() * (~absent).sum()
    return float(test.pvalue), abs(float(2 * test.statistic / n_pairs - 1))


def _quoted(names: list[str]) -> str:
    shown = [repr(name) for name in names[:5]]
    if len(names) > len(shown):
        return ", ".join(shown) + f" and {len(names) - len(shown):,} more columns"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if shown[1:] else shown)


def _has(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"
