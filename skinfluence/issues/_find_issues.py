"""Faults of the data besides single harmful samples."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.multiclass import type_of_target

from .._numbers import is_real
from .._progress import tracked
from .._values import check_list
from . import _columns, _labels
from ._copies import Copies
from ._finding import KINDS, Finding, as_frame
from ._table import Table, read


def find_issues(
    X: Any,
    y: ArrayLike | None = None,
    X_val: Any = None,
    y_val: ArrayLike | None = None,
    *,
    kinds: Sequence[str] | None = None,
    regression: bool | None = None,
    probabilities: ArrayLike | None = None,
    influence: ArrayLike | None = None,
    near: float = 0.1,
    feature_names: Sequence[str] | None = None,
) -> pd.DataFrame:
    r"""Find faults of the data: copies, leakage, columns that give the target away.

    Parameters
    ----------
    X : DataFrame, array-like of n_samples rows, or sequence of str
        Training samples, best as they were before any preprocessing: words as words,
        missing values missing.
    y : array-like of shape (n_samples,), optional
        Their labels or targets.
    X_val : as X, optional
        Validation or test samples, with the same columns.
    y_val : array-like of shape (n_val,), optional
        Their targets; only their number is checked.
    kinds : sequence of str or None, default=None
        Which faults to look for (see Notes); by default all that the data allow.
    regression : bool or None, default=None
        Whether y holds quantities and no labels. By default so if it holds numbers with
        decimals, or more than 20 different ones.
    probabilities : array-like of shape (n_samples, n_classes), optional
        The probability of each class, in the order of the sorted labels, by models that
        were not trained on the sample, such as by
        :func:`sklearn.model_selection.cross_val_predict`; for ``"label_errors"``.
    influence : array-like of shape (n_samples,), optional
        The influence of each sample, as of
        :meth:`~skinfluence.SGDInfluenceClassifier.influence`: what each fault costs.
    near : float, default=0.1
        How near numbers must be to be nearly the same, as a part of the median distance
        of a sample to the nearest other one; at least 0, below 1. Each column is in
        units of its interquartile range, images in one unit for all pixels. Where more
        than one row in twenty such sets would be as near by chance, it is less.
    feature_names : sequence of str or None, default=None
        Names of the columns, where X has none.

    Returns
    -------
    DataFrame
        A row for each fault, with the columns

        - ``kind``: one of those below;
        - ``finding``, ``advice``: what was found, and what to do, in words;
        - ``n_rows``: how many samples it concerns, for leakage those held out;
        - ``figure``: how strong it is, see Notes;
        - ``influence``: the sum of the influence over these samples, what the
          validation loss would rise by if all were removed (**negative: without them it
          is lower**), to first order; NaN where `influence` is not given, or where the
          advice is not to remove them;
        - ``about``: the names of the columns, or the class, a tuple;
        - ``rows``: the training samples, an array of int, as ``refit_without`` takes
          them;
        - ``matches``: for each of these the sample that it repeats, of the training
          data, or for leakage of the validation data; or empty.

        ``attrs["kinds"]`` are the kinds that were looked for, ``attrs["n_samples"]`` is
        the number of samples.

    Raises
    ------
    ValueError, TypeError
        If a parameter or the data is not as described.

    See Also
    --------
    skinfluence.inspection.AuditReport : Shows the faults beside the harmful samples.
    skinfluence.inspection.slice_influence : Groups of rows that do harm together.

    Notes
    -----
    =====================  ==========================================================
    kind                   what it is, and its figure
    =====================  ==========================================================
    duplicates             rows that equal an earlier one, targets included; their
                           share
    near_duplicates        rows whose numbers are `near` those of another one, all else
                           equal but for spaces and capitals; their share
    conflicting_labels     rows with equal inputs and different labels; their share
    leakage                validation rows whose inputs equal those of a training row;
                           their share
    near_leakage           validation rows that are nearly the same; their share
    label_errors           rows off the diagonal of the confident joint [1]_: another
                           label is more probable; their share. Where classes overlap or
                           one is rare, many of these labels are right
    outliers               rows with a number, or a target to predict, more than 20
                           interquartile ranges from its column's median; their share
    rare_class             a class with less than a fifth of the mean number of samples;
                           its share
    constant               columns with one value in 99.9 % of the rows; the share of
                           the most frequent one
    giveaway               a column from which alone the target can be told, by a small
                           tree or by its order; the share of errors that it avoids, or
                           the rank correlation
    identifier             a column that names the rows; 1
    missing                a column whose missing values go with the target; Cramér's V
                           or the rank-biserial correlation
    =====================  ==========================================================

    Columns that name the rows are left out where rows are compared. Images (more than
    two axes) have no faults of columns. Rows of few different values are equal by
    chance: how many would be is estimated from the pairs that differ in one column
    only, and told.

    References
    ----------
    .. [1] C. Northcutt, L. Jiang, I. Chuang, "Confident Learning: Estimating
       Uncertainty in Dataset Labels", JAIR 2021, equations 1 and 2.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import find_issues
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> X["row"], X["unit"] = range(150), "cm"
    >>> found = find_issues(X, y)
    >>> found[["kind", "n_rows"]]
             kind  n_rows
    0  duplicates       1
    1    constant       0
    2    giveaway       0
    3  identifier       0
    >>> print(found["finding"][3])
    'row' numbers the rows; it is left out where rows are compared.
    """
    table = read("X", X, feature_names)
    near = _checked_near(near)
    targets = None if y is None else _checked_target(y, len(table))
    regression = _is_regression(targets, regression)
    held_out = _held_out(table, X_val, y_val, feature_names)
    probabilities = _checked_probabilities(probabilities, targets, regression)
    influence = _checked_influence(influence, len(table))
    possible = _possible(table, targets, regression, held_out, probabilities, near)
    wanted = _checked_kinds(kinds, possible)
    kinds_in_turn = tracked(wanted, "Faults", "kind")
    findings = [found for kind in kinds_in_turn for found in possible[kind]()]
    return as_frame(findings, influence, {"kinds": wanted, "n_samples": len(table)})


Search = Callable[[], Iterable[Finding]]


def _possible(
    table: Table,
    y: np.ndarray | None,
    regression: bool,
    held_out: Table | None,
    probabilities: np.ndarray | None,
    near: float,
) -> dict[str, Search]:
    """Return the searches that the data allow, by kind."""
    both = table if held_out is None else table.above(held_out)
    copies = Copies(both.without(_columns.identifying(table)), len(table), near)
    classes, codes = (None, None) if y is None else np.unique(y, return_inverse=True)
    searches: dict[str, Search] = {
        "duplicates": lambda: copies.duplicates(codes),
        "near_duplicates": copies.near_duplicates,
        "outliers": lambda: _labels.outliers(table, y if regression else None),
    }
    # Pixels are no columns that anyone would drop.
    if not table.one_unit:
        searches |= {
            "constant": lambda: _columns.constant(table),
            "identifier": lambda: _columns.identifiers(table),
        }
    if held_out is not None:
        searches |= {"leakage": copies.leakage, "near_leakage": copies.near_leakage}
    if y is None or classes is None or codes is None:
        return searches
    if not table.one_unit:
        searches |= _with_target(table, y, regression)
    if not regression:
        searches |= {
            "conflicting_labels": lambda: copies.conflicts(codes),
            "rare_class": lambda: _labels.rare(codes, classes, table.noun),
        }
    if probabilities is not None:
        searches["label_errors"] = lambda: _labels.label_errors(
            codes, probabilities, table.noun
        )
    return searches


def _with_target(table: Table, y: np.ndarray, regression: bool) -> dict[str, Search]:
    """Return the searches for columns that go with the target."""
    return {
        "giveaway": lambda: _columns.giveaways(table, y, regression),
        "missing": lambda: _columns.missing(table, y, regression),
    }


_NEEDED = {
    "leakage": "`X_val`",
    "near_leakage": "`X_val`",
    "giveaway": "a table and `y`",
    "missing": "a table and `y`",
    "constant": "a table, not images",
    "identifier": "a table, not images",
    "conflicting_labels": "labels as `y`",
    "rare_class": "labels as `y`",
    "label_errors": "labels as `y` and `probabilities`",
}


def _checked_kinds(kinds: Any, possible: dict[str, Search]) -> list[str]:
    if kinds is None:
        return [kind for kind in KINDS if kind in possible]
    wanted = check_list("kinds", kinds, f"names among {list(KINDS)}")
    for kind in wanted:
        if kind not in KINDS:
            raise ValueError(f"`kinds` must be among {list(KINDS)}, got {kind!r}.")
        if kind not in possible:
            raise ValueError(f"`kinds` has {kind!r}, which needs {_NEEDED[kind]}.")
    return [kind for kind in KINDS if kind in wanted]


def _checked_near(near: object) -> float:
    if not is_real(near) or not 0 <= near < 1:
        raise ValueError(f"`near` must be a number from 0 and below 1, got {near!r}.")
    return float(near)


def _checked_target(y: ArrayLike, n_samples: int, name: str = "y") -> np.ndarray:
    """Return targets as an array of numbers or of texts."""
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (n_samples,):
        raise ValueError(
            f"`{name}` must be of shape ({n_samples},), one target for each row, got "
            f"{values.shape}."
        )
    absent = np.flatnonzero(pd.isna(values))
    if len(absent):
        raise ValueError(
            f"`{name}` must have no missing values, got one in row {absent[0]}. Leave "
            "these rows out."
        )
    return values.astype(str) if values.dtype == object else values


def _is_regression(y: np.ndarray | None, asked: bool | None) -> bool:
    if asked is not None and not isinstance(asked, (bool, np.bool_)):
        raise TypeError(f"`regression` must be True, False or None, got {asked!r}.")
    if y is None:
        return False
    if asked and y.dtype.kind not in "biuf":
        raise ValueError(
            f"`y` must hold numbers with regression=True, got dtype {y.dtype}."
        )
    if asked is not None:
        return bool(asked)
    numbers = y.dtype.kind in "iuf"
    return numbers and (
        type_of_target(y) == "continuous" or len(np.unique(y)) > _MOST_CLASSES
    )


_MOST_CLASSES = 20


def _held_out(
    table: Table, X_val: Any, y_val: Any, names: Sequence[str] | None
) -> Table | None:
    if X_val is None:
        if y_val is not None:
            raise ValueError("`y_val` must come with `X_val`, got no `X_val`.")
        return None
    held_out = read("X_val", X_val, names)
    if set(held_out.names) != set(table.names):
        differ = sorted(set(held_out.names) ^ set(table.names))
        raise ValueError(
            f"`X_val` must have the columns of `X`, got others: {differ[:5]}."
        )
    if y_val is not None:
        _checked_target(y_val, len(held_out), "y_val")
    return held_out


def _checked_probabilities(
    probabilities: Any, y: np.ndarray | None, regression: bool
) -> np.ndarray | None:
    if probabilities is None:
        return None
    if y is None or regression:
        raise ValueError("`probabilities` must come with labels as `y`.")
    values = np.asarray(probabilities, dtype=np.float64)
    shape = (len(y), len(np.unique(y)))
    if values.shape != shape:
        raise ValueError(
            f"`probabilities` must be of shape {shape}, a column for each label of "
            f"`y`, got {values.shape}."
        )
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("`probabilities` must be between 0 and 1, got others.")
    return values


def _checked_influence(influence: Any, n_samples: int) -> np.ndarray | None:
    if influence is None:
        return None
    values = np.asarray(influence, dtype=np.float64)
    if values.shape != (n_samples,):
        raise ValueError(
            f"`influence` must be of shape ({n_samples},), one number for each row, "
            f"got {values.shape}."
        )
    return values
