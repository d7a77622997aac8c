"""Agreement of two rankings of the samples."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau
from sklearn.utils.validation import column_or_1d

from .._numbers import is_integer


def check_scores(scores: ArrayLike, n_samples: int) -> np.ndarray:
    """Return the scores as an array, one finite number for each sample."""
    try:
        array = np.asarray(scores, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"`scores` must be numbers, got {scores!r:.200}.") from error
    if array.shape != (n_samples,) or not np.isfinite(array).all():
        raise ValueError(
            f"`scores` must be finite numbers of shape ({n_samples},), got shape "
            f"{array.shape}."
        )
    return array


def _check_pair(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = _scores("first", first), _scores("second", second)
    if len(a) != len(b):
        raise ValueError(
            f"`second` must have as many scores as `first` ({len(a)}), got {len(b)}."
        )
    return a, b


def _scores(name: str, given: ArrayLike) -> np.ndarray:
    try:
        scores = np.asarray(column_or_1d(given), dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"`{name}` must be a one-dimensional array of numbers, got {given!r:.80}."
        ) from error
    if not np.isfinite(scores).all():
        raise ValueError(f"`{name}` must be finite, got NaN or infinity.")
    return scores


def kendall_tau(first: ArrayLike, second: ArrayLike) -> float:
    r"""Return Kendall's rank correlation of two scores of the same samples.

    Parameters
    ----------
    first, second : array-like of shape (n_samples,)
        Scores, such as an influence estimate and the true change.

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
    return float(kendalltau(*_check_pair(first, second)).statistic)


def jaccard_extremes(first: ArrayLike, second: ArrayLike, k: int = 10) -> float:
    """Return how far two scores agree on the lowest and the highest samples.

    Parameters
    ----------
    first, second : array-like of shape (n_samples,)
        Scores, such as an influence estimate and the true change.
    k : int, default=10
        Number of lowest and number of highest samples to compare.

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
    pair = _check_pair(first, second)
    most = len(pair[0]) // 2
    if not is_integer(k) or not 1 <= k <= most:
        raise ValueError(
            "`k` must be an integer between 1 and half the number of samples "
            f"({most}), got {k!r}."
        )
    k = int(k)  # the negative of NumPy's unsigned ones is not what it says
    ends = []
    for scores in pair:
        # Stable, so that ties are broken in the same way in both.
        order = np.argsort(scores, kind="stable")
        ends.append({*order[:k], *order[-k:]})
    return len(ends[0] & ends[1]) / len(ends[0] | ends[1])
