"""Chance as a scorer."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _num_samples


class Random(BaseEstimator):
    """Score the samples at random: what any other scorer has to beat.

    The name ``"random"`` stands for it.

    Parameters
    ----------
    random_state : int, RandomState instance or None, default=None
        Pass an int for the same scores each time.

    Examples
    --------
    >>> from skinfluence.scorers import Random
    >>> Random(random_state=0)(None, [[1], [2], [3]]).argsort().tolist()
    [0, 2, 1]
    """

    def __init__(self, random_state: Any = None) -> None:
        self.random_state = random_state

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        *,
        sample_weight_val: Any = None,
    ) -> np.ndarray:
        """Return random numbers.

        Parameters
        ----------
        estimator : object
            Not used.
        X : array-like of n_samples rows
            Says how many samples there are.
        y, X_val, y_val, sample_weight_val : object
            Not used.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Uniform in [0, 1).
        """
        return check_random_state(self.random_state).uniform(size=_num_samples(X))
