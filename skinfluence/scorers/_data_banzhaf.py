"""Data Banzhaf values as a scorer."""

from collections.abc import Callable

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import check_scoring

from .._numbers import check_integer, random_generator
from .._parallel import parallel_calls
from ._base import BaseScorer, ScoringData
from ._checks import check_predictor
from ._refits import Utility


class DataBanzhaf(BaseScorer, name="data_banzhaf"):
    r"""Score the samples by their Banzhaf value for the estimator.

    Named ``"data_banzhaf"``. The score is the average gain of the validation score V,
    in its unit, from adding the sample to a random subset of the others, all of which
    are as likely [1]_,

    .. math:: φ_i = \frac{1}{2^{n-1}} \sum_{S \not\ni i} V(S \cup \{i\}) - V(S).

    A negative value means that the sample is harmful. Of all semivalues its ranking
    withstands noise in V best. Every fit informs about every sample, by maximum sample
    reuse: the estimate is the mean of V over the drawn subsets that hold the sample,
    minus that over those that do not. The subsets are drawn in pairs, a random one and
    its complement, so that each sample is in half of them. They are fitted without
    sample weights; the empty set, and samples of a single class, get the score of the
    best constant prediction.

    Parameters
    ----------
    n_subsets : int, default=500
        Number of random subsets. The estimator is fitted on each and on its complement.
        The values' standard errors fall with its square root.
    scoring : str, callable or None, default=None
        V, as in :func:`sklearn.model_selection.cross_validate`; None for the
        estimator's ``score``.
    n_jobs : int or None, default=None
        Number of subsets evaluated in parallel, through joblib.
    random_state : int, RandomState instance or None, default=None
        Draws the subsets. Pass an int for reproducible scores.

    See Also
    --------
    DataShapley : All sizes of sets count the same.

    References
    ----------
    .. [1] J. T. Wang, R. Jia, "Data Banzhaf: A Robust Data Valuation Framework for
       Machine Learning", AISTATS 2023, sections 4 and 5.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from skinfluence.scorers import DataBanzhaf
    >>> X, y = load_iris(return_X_y=True)
    >>> scorer = DataBanzhaf(20, random_state=0)
    >>> scorer(GaussianNB(), X[::10], y[::10], X[1::10], y[1::10]).shape
    (15,)
    """

    def __init__(
        self,
        n_subsets: int = 500,
        *,
        scoring: str | Callable[..., float] | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_subsets = n_subsets
        self.scoring = scoring
        self.n_jobs = n_jobs
        self.random_state = random_state

    _estimator_checks = (check_predictor,)
    _required_data = ("X", "y", "X_val", "y_val")

    def _check_parameters(self) -> None:
        check_integer("n_subsets", self.n_subsets, 1)

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        check_scoring(estimator, self.scoring)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the estimated Banzhaf value of each sample."""
        utility = Utility.of(estimator, self.scoring, data)
        rng = random_generator(self.random_state)
        # Drawn beforehand, so that they do not depend on n_jobs.
        subsets = rng.randint(2, size=(self.n_subsets, len(utility.y))) == 1
        gains = parallel_calls(
            _gain,
            ((utility, inside) for inside in subsets),
            self.n_jobs,
            words="Subsets",
            unit="subset",
            total=len(subsets),
        )
        # Each sample is in the subset or in its complement: a mean over the pairs.
        return np.where(subsets, 1.0, -1.0).T @ np.array(gains) / len(subsets)


def _gain(utility: Utility, inside: np.ndarray) -> float:
    """Return the value of a subset minus that of its complement."""
    return utility(np.flatnonzero(inside)) - utility(np.flatnonzero(~inside))
