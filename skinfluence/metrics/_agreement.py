"""How well two rankings of the samples agree."""

from typing import Any

import numpy as np
from scipy.stats import kendalltau
from sklearn.utils.validation import check_consistent_length, column_or_1d


def _pair(first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
    first, second = (
        np.asarray(column_or_1d(scores), dtype=np.float64) for scores in (first, second)
    )
    check_consistent_length(first, second)
    for name, scores in (("first", first), ("second", second)):
        if not np.isfinite(scores).all():
            raise ValueError(f"`{name}` must be finite, got NaN or infinity.")
    return first, second


def kendall_tau(first: Any, second: Any) -> float:
    r"""Return Kendall's rank correlation of two scores of the same samples.

    Parameters
    ----------
    first, second : array-like of shape (n_samples,)
        Scores, such as an influence and the truth.

    Returns
    -------
    float
        Kendall's :math:`τ_b` in [-1, 1]; 1 for the same order.

    Raises
    ------
    ValueError
        If a score is not finite, or the lengths differ.

    References
    ----------
    .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained with
       SGD", NeurIPS 2019, section 5.1.

    Examples
    --------
    >>> from skinfluence.metrics import kendall_tau
    >>> kendall_tau([1, 2, 3, 4], [1, 2, 4, 3])
    0.666...
    """
    return float(kendalltau(*_pair(first, second)).statistic)


def jaccard_extremes(first: Any, second: Any, k: int = 10) -> float:
    """Return how far two scores agree on the samples at both ends.

    Parameters
    ----------
    first, second : array-like of shape (n_samples,)
        Scores, such as an influence and the truth.
    k : int, default=10
        How many of the lowest, and how many of the highest, are compared.

    Returns
    -------
    float
        Jaccard index, in [0, 1], of the two sets of the k lowest and k highest
        samples.

    Raises
    ------
    ValueError
        If `k` is not between 1 and half the number of samples, a score is not
        finite, or the lengths differ.

    References
    ----------
    .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained with
       SGD", NeurIPS 2019, section 5.1.

    Examples
    --------
    >>> from skinfluence.metrics import jaccard_extremes
    >>> jaccard_extremes([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 6, 5], k=1)
    0.333...
    """
    first, second = _pair(first, second)
    if not 1 <= k <= len(first) // 2:
        raise ValueError(
            f"`k` must be between 1 and half the number of samples "
            f"({len(first) // 2}), got {k}."
        )
    ends = []
    for scores in (first, second):
        order = np.argsort(scores, kind="stable")
        ends.append({*order[:k], *order[-k:]})
    return len(ends[0] & ends[1]) / len(ends[0] | ends[1])
