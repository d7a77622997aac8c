"""The removal curve: the test score by the number of removed samples."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import check_scoring
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import _num_samples

from .._numbers import is_integer
from .._parallel import check_n_jobs, parallel_calls
from .._values import check_list, check_single
from ._agreement import check_scores


def removal_curve(
    estimator: BaseEstimator,
    scores: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    X_test: ArrayLike,
    y_test: ArrayLike,
    *,
    counts: Sequence[int],
    scoring: str | Callable[..., float] | None = None,
    n_jobs: int | None = None,
) -> pd.DataFrame:
    """Return the test score after removing the samples with the lowest scores.

    Parameters
    ----------
    estimator : estimator
        Any scikit-learn classifier or regressor; a clone is fitted for each count.
    scores : array-like of shape (n_samples,)
        Scores of the training samples; the lowest are removed first.
    X, y : array-like, or CSR matrix, of n_samples rows
        Training data.
    X_test, y_test : array-like, or CSR matrix, of n_test rows
        Test data, used neither for training nor for the scores.
    counts : sequence of int
        Numbers of samples to remove.
    scoring : str, callable or None, default=None
        As in :func:`sklearn.model_selection.cross_validate`.
    n_jobs : int or None, default=None
        Number of fits in parallel, through joblib.

    Returns
    -------
    DataFrame
        Columns ``n_removed`` and ``score``, one row for each count, in the given order.

    Raises
    ------
    ValueError
        If the lengths differ, a score is not finite, or a count is not between 0 and
        the number of samples.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinfluence.metrics import removal_curve
    >>> X, y = load_iris(return_X_y=True)
    >>> removal_curve(
    ...     LogisticRegression(max_iter=500),
    ...     scores=range(75),
    ...     X=X[::2],
    ...     y=y[::2],
    ...     X_test=X[1::2],
    ...     y_test=y[1::2],
    ...     counts=[0, 5],
    ... )["n_removed"].tolist()
    [0, 5]
    """
    check_n_jobs(n_jobs)
    X, y = indexable(X, y)
    n_samples = _num_samples(X)
    scores = check_scores(scores, n_samples)
    numbers = check_list("counts", counts, "integers")
    for count in numbers:
        if not is_integer(count) or not 0 <= count < n_samples:
            raise ValueError(
                "`counts` must be integers from 0 and below the number of samples "
                f"({n_samples}), got {count!r}."
            )
    check_single("scoring", scoring)
    order = np.argsort(scores, kind="stable")
    scorer = check_scoring(estimator, scoring=scoring)

    def score_without(count: int) -> float:
        # In the order of the data: the result of SGD, for one, depends on it.
        kept = np.sort(order[count:])
        model = clone(estimator).fit(_safe_indexing(X, kept), _safe_indexing(y, kept))
        return float(scorer(model, X_test, y_test))

    score = parallel_calls(
        score_without,
        ((count,) for count in numbers),
        n_jobs,
        words="Removals",
        unit="fit",
        total=len(numbers),
    )
    return pd.DataFrame({"n_removed": numbers, "score": score})
