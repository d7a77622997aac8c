"""The linear datamodeling score: how well scores foretell what removal does."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.utils import check_random_state


def linear_datamodeling_score(
    estimator: Any,
    scores: Any,
    X_val: Any,
    y_val: Any = None,
    *,
    n_subsets: int = 60,
    keep: float = 0.9,
    random_state: Any = None,
    **asked: Any,
) -> float:
    """Return how well the sum of scores foretells the effect of removing a subset.

    The linear datamodeling score (LDS): random subsets of the training samples are
    taken out, the recorded run is repeated without each
    (:meth:`~skinfluence.SGDInfluenceClassifier.counterfactual_influence`), and the
    true changes of the query are rank-correlated with the sums of the removed
    samples' scores.

    Parameters
    ----------
    estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
        A fitted estimator whose run was recorded.
    scores : array-like of shape (n_samples,)
        Scores in the sign of the influence: negative for harmful.
    X_val : array-like
        Validation samples.
    y_val : array-like
        Their targets.
    n_subsets : int, default=60
        Number of subsets.
    keep : float, default=0.9
        Fraction of the samples that each subset keeps.
    random_state : int, RandomState instance or None, default=None
        Draws the subsets.
    **asked : dict
        Further arguments of ``counterfactual_influence``: the same ``query``, ``at``
        and ``sample_weight_val`` that the scores were computed with; ``n_jobs``.

    Returns
    -------
    float
        Spearman's rank correlation, in [-1, 1].

    Raises
    ------
    ValueError
        If a parameter is not as described.

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
    scores = np.asarray(scores, dtype=np.float64)
    n_samples = estimator.trajectory_.n_samples
    if scores.shape != (n_samples,) or not np.isfinite(scores).all():
        raise ValueError(
            f"`scores` must be finite numbers of shape ({n_samples},), got shape "
            f"{scores.shape}."
        )
    if not isinstance(n_subsets, Integral) or n_subsets < 3:
        raise ValueError(f"`n_subsets` must be an integer above 2, got {n_subsets!r}.")
    n_removed = n_samples - round(keep * n_samples) if isinstance(keep, Real) else 0
    if not 0 < n_removed < n_samples:
        raise ValueError(
            f"`keep` must be a fraction that leaves out at least one of {n_samples} "
            f"samples and not all, got {keep!r}."
        )
    rng = check_random_state(random_state)
    groups = [rng.permutation(n_samples)[:n_removed] for _ in range(int(n_subsets))]
    truth = estimator.counterfactual_influence(X_val, y_val, groups, **asked)
    foretold = [scores[group].sum() for group in groups]
    return float(spearmanr(foretold, truth).statistic)
