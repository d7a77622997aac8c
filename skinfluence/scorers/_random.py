"""Chance as a scorer."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _num_samples

from .._numbers import random_generator
from ._base import BaseScorer, ScoringData


class Random(BaseScorer, name="random"):
    """Score the samples at random: the baseline for all other scorers.

    Named ``"random"``. The scores are uniform in [0, 1).

    Parameters
    ----------
    random_state : int, RandomState instance or None, default=None
        Pass an int for reproducible scores.

    Examples
    --------
    >>> from skinfluence.scorers import Random
    >>> Random(random_state=0)(None, [[1], [2], [3]]).argsort().tolist()
    [0, 2, 1]
    """

    def __init__(self, random_state: int | np.random.RandomState | None = None) -> None:
        self.random_state = random_state

    _required_data = ("X",)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return random numbers."""
        return random_generator(self.random_state).uniform(size=_num_samples(data.X))
