"""The removal curve: a model's score as more and more samples are taken out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.utils import _safe_indexing, indexable


def removal_curve(
    estimator: Any,
    scores: Any,
    X: Any,
    y: Any,
    X_test: Any,
    y_test: Any,
    *,
    counts: Sequence[int],
    scoring: Any = None,
    n_jobs: int | None = None,
) -> pd.DataFrame:
    """Return the test score after removing the samples with the lowest scores.

    Parameters
    ----------
    estimator : estimator
        Any scikit-learn classifier or regressor; a clone is fitted for each count.
    scores : array-like of shape (n_samples,)
        Scores of the training samples; the lowest are removed first.
    X : array-like or CSR matrix of shape (n_samples, ...)
        Training samples.
    y : array-like of shape (n_samples,)
        Their targets.
    X_test : array-like or CSR matrix of shape (n_test, ...)
        Test samples: neither trained on nor used for the scores.
    y_test : array-like of shape (n_test,)
        Their targets.
    counts : sequence of int
        How many samples to remove.
    scoring : str, callable or None, default=None
        As in :func:`sklearn.model_selection.cross_validate`.
    n_jobs : int or None, default=None
        Number of fits at once, through joblib.

    Returns
    -------
    DataFrame
        Columns ``n_removed`` and ``score``, one row for each count, in their order.

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
    X, y = indexable(X, y)
    scores = np.asarray(scores, dtype=np.float64)
    n_samples = X.shape[0] if hasattr(X, "shape") else len(X)
    if scores.shape != (n_samples,) or not np.isfinite(scores).all():
        raise ValueError(
            f"`scores` must be finite numbers of shape ({n_samples},), got shape "
            f"{scores.shape}."
        )
    for count in counts:
        if not 0 <= count < n_samples:
            raise ValueError(
                f"`counts` must be between 0 and the number of samples ({n_samples}), "
                f"got {count}."
            )
    order = np.argsort(scores, kind="stable")
    scorer = check_scoring(estimator, scoring=scoring)

    def score_without(count: int) -> float:
        kept = np.sort(order[count:])
        model = clone(estimator).fit(_safe_indexing(X, kept), _safe_indexing(y, kept))
        return float(scorer(model, X_test, y_test))

    found = Parallel(n_jobs=n_jobs)(delayed(score_without)(count) for count in counts)
    return pd.DataFrame({"n_removed": list(counts), "score": found})
