"""The linear datamodeling score: how well scores predict the effect of removal."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator

from .._numbers import check_integer, is_real, random_generator
from ..estimators import RecordedRun
from ._agreement import check_scores


def linear_datamodeling_score(
    estimator: BaseEstimator,
    scores: ArrayLike,
    X_val: ArrayLike,
    y_val: ArrayLike | None = None,
    *,
    n_subsets: int = 60,
    keep: float = 0.9,
    random_state: int | np.random.RandomState | None = None,
    **options: Any,
) -> float:
    """Return how well the sum of scores predicts the effect of removing a subset.

    The linear datamodeling score (LDS) [1]_: the recorded run is repeated without
    random subsets of the training samples
    (:meth:`~skinfluence.SGDInfluenceClassifier.counterfactual_influence`), and the
    changes of the query are rank-correlated with the sums of the removed samples'
    scores.

    Parameters
    ----------
    estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
        A fitted estimator whose run was recorded.
    scores : array-like of shape (n_samples,)
        Scores with the sign of the influence: negative for harmful samples.
    X_val, y_val : array-like
        Validation data.
    n_subsets : int, default=60
        Number of subsets.
    keep : float, default=0.9
        Fraction of the samples that each subset keeps.
    random_state : int, RandomState instance or None, default=None
        Draws the subsets.
    **options : dict
        Further arguments of ``counterfactual_influence``: ``n_jobs``, and the
        ``query``, ``at`` and ``sample_weight_val`` that the scores were computed with.

    Returns
    -------
    float
        Spearman's rank correlation, in [-1, 1].

    Raises
    ------
    ValueError
        If a parameter is invalid.

    References
    ----------
    .. [1] S. M. Park, K. Georgiev, A. Ilyas, G. Leclerc, A. Madry, "TRAK: Attributing
       Model Behavior at Scale", ICML 2023, Definition 2.3.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.metrics import linear_datamodeling_score
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> clf = SGDInfluenceClassifier("linear", random_state=0).fit(X[::2], y[::2])
    >>> scores = clf.influence(X[1::2], y[1::2])
    >>> lds = linear_datamodeling_score(
    ...     clf, scores, X[1::2], y[1::2], n_subsets=20, random_state=0
    ... )
    >>> lds > 0.9
    True
    """
    n_samples = RecordedRun.of(estimator).trajectory.n_samples
    scores = check_scores(scores, n_samples)
    check_integer("n_subsets", n_subsets, 3)
    fraction = is_real(keep) and 0 < keep < 1
    n_removed = n_samples - round(keep * n_samples) if fraction else 0
    if not 0 < n_removed < n_samples:
        raise ValueError(
            f"`keep` must be a fraction that removes at least one of the {n_samples} "
            f"samples and not all, got {keep!r}."
        )
    rng = random_generator(random_state)
    groups = [rng.permutation(n_samples)[:n_removed] for _ in range(int(n_subsets))]
    truth = estimator.counterfactual_influence(X_val, y_val, groups, **options)
    predicted = [scores[group].sum() for group in groups]
    return float(spearmanr(predicted, truth).statistic)
