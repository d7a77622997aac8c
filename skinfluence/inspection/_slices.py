"""Which groups of rows do harm: slices of a table, ranked by their influence."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm

from .._numbers import check_integer, random_generator
from ..estimators import RecordedRun, check_estimator
from ._slice_checks import (
    MOST_INTERVALS,
    check_frame,
    checked_columns,
    checked_intervals,
    checked_support,
)
from ._slice_columns import Predicates, everything, predicates_of
from ._slice_search import Found, search
from ._style import check_numbers
from ._typing import At, Estimator, QueryLike, RandomState

# How sure it must be that a conjunction is more harmful than either of its predicates,
# and below which part of its harm per row the rows are that it leaves out: if these are
# nearly as harmful, they had better go too.
_LEVEL, _BESIDE = 0.05, 0.25
# Which part of a slice's harm must be its own, in no slice before it.
_OWN = 0.5


def slice_influence(
    estimator: Estimator,
    X_frame: pd.DataFrame,
    X_val: object,
    y_val: ArrayLike,
    *,
    columns: Sequence[object] | None = None,
    intervals: Mapping[object, Sequence[float]] | None = None,
    n_intervals: int = 8,
    max_categories: int = 100,
    min_rows: float = 0.01,
    max_rows: float = 0.3,
    n_slices: int = 10,
    n_exact: int = 5,
    n_permutations: int = 200,
    influence: ArrayLike | None = None,
    query: QueryLike = "loss",
    at: At = "path",
    random_state: RandomState = None,
) -> pd.DataFrame:
    r"""Find the groups of training samples whose removal would help most.

    A slice is a predicate over the columns of a table that stands beside the training
    data: a category, an interval, a month or a year, missing values, or two of these
    together. The sum of the influence over its rows estimates the effect of removing
    all of them. Those sums are compared with the sums over as many random rows, and
    the effect of the first slices is computed by training without them.

    Parameters
    ----------
    estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
        A fitted estimator whose run was recorded.
    X_frame : DataFrame of n_samples rows
        What is known of each training sample, in the order of ``fit``. The columns may
        be those that the model was given, or others, such as who labelled the sample.
    X_val : array-like
        Validation samples.
    y_val : array-like
        Their targets.
    columns : sequence of column names or None, default=None
        Which columns of the table to use; by default all.
    intervals : mapping of column name to sequence of float or None, default=None
        Edges between intervals, increasing, at most 19. An interval holds its low end
        and not its high one. By default quantiles.
    n_intervals : int, default=8
        Into how many intervals of about as many rows each numeric column is divided, 2
        to 20. Predicates are all unions of consecutive ones. A value in so many rows,
        and each one of at most 12 different values, is an interval of its own.
    max_categories : int, default=100
        How many categories, or months and years, of a column to try, the most
        frequent.
    min_rows, max_rows : int or float, default=0.01 and 0.3
        The least and the largest support: counts, or fractions of the rows. A fraction
        as `min_rows` means five rows at least.
    n_slices : int, default=10
        How many slices to return, at most.
    n_exact : int, default=5
        How many of them, the first, to train without
        (:meth:`~skinfluence.SGDInfluenceClassifier.counterfactual_influence`).
    n_permutations : int, default=200
        How often to shuffle the influence over the rows.
    influence : array-like of shape (n_samples,) or None, default=None
        The influence, where it has been computed already, with the same `query` and
        `at`.
    query : a named query or callable, default="loss"
        What is measured on the validation samples, as in
        :meth:`~skinfluence.SGDInfluenceClassifier.influence`. Lower must be better.
    at : "final", "epochs", "path", sequence or mapping, default="path"
        On which models it is measured, as there.
    random_state : int, RandomState instance or None, default=None
        Determines the permutations.

    Returns
    -------
    DataFrame
        A row for each slice whose removal lowers the query by estimate, first the one
        that is furthest from random rows, with the columns

        - ``slice``: the predicate in words;
        - ``n_rows``: its support;
        - ``estimate``: the sum of the influence over its rows. **Negative: without
          them the loss is lower**;
        - ``exact``: the change of the query when training without them; NaN where it
          was not computed;
        - ``interaction``: exact minus estimate, what the rows do together beyond their
          sum (and the error of the estimate of each);
        - ``share``: the part of all negative influence that is in its rows;
        - ``deviation``: the estimate, in standard deviations from the mean of the sums
          over as many random rows;
        - ``p_value``: how often the best slice of shuffled influence deviates as much;
          see Notes;
        - ``samples``: its rows, an array of int, as ``refit_without`` takes them.

        ``attrs["n_tried"]`` is the number of slices with the support.

    Raises
    ------
    ValueError, TypeError
        If a parameter or the table is not as described.
    NotRecordedError
        If the run was not recorded, and other errors of
        :meth:`~skinfluence.SGDInfluenceClassifier.influence`.

    Warns
    -----
    UserWarning
        If a column has more categories of enough rows than `max_categories`.

    See Also
    --------
    AuditReport : Shows single samples, and the slices in a table.

    Notes
    -----
    The p-value is adjusted for all slices that were tried: it is
    :math:`(1 + k) / (1 + n)` where in k of n permutations some slice has as low a
    deviation [1]_. A small one says that harm and the columns are related. It does not
    say that the labels are wrong: rows that are rare or hard differ as well.

    Slices overlap, and each is to tell something new. A conjunction is left out unless
    it is more harmful than a random part of each of its two predicates would be (at
    the level of 5 % for all that were tried, after Bonferroni, with normal sums), and
    unless the rows that it leaves out of either are, each, less than a quarter as
    harmful. So is a slice that has half of its harm or more in rows of slices before.

    References
    ----------
    .. [1] P. H. Westfall, S. S. Young, "Resampling-Based Multiple Testing", Wiley,
       1993, the single-step maxT procedure.

    Examples
    --------
    One annotator of ten gave wrong labels:

    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.inspection import slice_influence
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = scale(X)[::2], scale(X)[1::2], y[::2], y[1::2]
    >>> about = pd.DataFrame({"annotator": np.arange(75) % 10})
    >>> y[about["annotator"] == 3] = 0
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
    >>> found = slice_influence(clf, about, X_val, y_val, random_state=0)
    >>> found[["slice", "n_rows"]]
               slice  n_rows
    0  annotator = 3       8
    """
    check_estimator(estimator)
    n_intervals = check_integer("n_intervals", n_intervals, 2)
    if n_intervals > MOST_INTERVALS:
        raise ValueError(
            f"`n_intervals` must be at most {MOST_INTERVALS}, got {n_intervals}."
        )
    max_categories = check_integer("max_categories", max_categories, 1)
    n_slices = check_integer("n_slices", n_slices, 1)
    n_exact = check_integer("n_exact", n_exact)
    n_permutations = check_integer("n_permutations", n_permutations, 1)
    rng = random_generator(random_state)
    n_samples = RecordedRun.of(estimator).trajectory.n_samples
    check_frame(X_frame, n_samples)
    least, most = checked_support(min_rows, max_rows, n_samples)
    edges = checked_intervals(intervals, X_frame)
    predicates = [everything(n_samples)]
    for name, values in checked_columns(columns, X_frame).items():
        predicates.append(
            predicates_of(values, edges.get(name), n_intervals, max_categories, least)
        )
    if influence is None:
        influence = estimator.influence(X_val, y_val, query=query, at=at)
    scores = check_numbers("influence", influence, n_samples)
    if not np.isfinite(scores).all():
        raise ValueError("`influence` must be finite, got NaN or infinity.")
    shuffled = np.column_stack([rng.permutation(scores) for _ in range(n_permutations)])
    found = search(predicates, scores, shuffled, least, most)
    table = _table(predicates, found, scores, n_slices)
    groups = table["samples"].tolist()[:n_exact]
    if groups:
        exact = estimator.counterfactual_influence(
            X_val, y_val, groups, query=query, at=at
        )
        table.loc[table.index[: len(groups)], "exact"] = exact
        table["interaction"] = table["exact"] - table["estimate"]
    return table


def _table(
    columns: Sequence[Predicates], found: Found, influence: np.ndarray, n_slices: int
) -> pd.DataFrame:
    """Return the slices that each tell something new, the least random first."""
    slices = found.slices
    # Each of so many conjunctions has a random part of its predicates to beat.
    narrower = slices.within <= norm.ppf(_LEVEL / max(found.n_tried, 1))
    slices = slices[narrower & (slices.beside < _BESIDE)]
    covered = np.zeros(len(influence), dtype=bool)
    whole_harm = np.minimum(influence, 0).sum()
    lines: list[dict[str, object]] = []
    for k in np.argsort(slices.deviation, kind="stable"):
        if len(lines) == n_slices:
            break
        first, second = columns[slices.first[k]], columns[slices.second[k]]
        i, j = slices.of_first[k], slices.of_second[k]
        mask = first.rows(i) & second.rows(j)
        if influence[mask & ~covered].sum() > _OWN * slices.total[k]:
            continue
        covered |= mask
        as_low = np.count_nonzero(found.by_chance <= slices.deviation[k])
        lines.append(
            {
                "slice": " and ".join(filter(None, [first.words[i], second.words[j]])),
                "n_rows": slices.n_rows[k],
                "estimate": slices.total[k],
                "exact": np.nan,
                "interaction": np.nan,
                "share": np.minimum(influence[mask], 0).sum() / whole_harm,
                "deviation": slices.deviation[k],
                "p_value": (1 + as_low) / (1 + len(found.by_chance)),
                "samples": np.flatnonzero(mask),
            }
        )
    table = pd.DataFrame(lines, columns=_COLUMNS).astype(_DTYPES)
    table.attrs["n_tried"] = found.n_tried
    return table


_DTYPES = {
    "slice": object,
    "n_rows": np.int64,
    "estimate": np.float64,
    "exact": np.float64,
    "interaction": np.float64,
    "share": np.float64,
    "deviation": np.float64,
    "p_value": np.float64,
    "samples": object,
}
_COLUMNS = list(_DTYPES)
