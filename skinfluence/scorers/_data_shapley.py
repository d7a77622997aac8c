"""Data Shapley, by truncated Monte-Carlo, as a scorer."""

from collections.abc import Callable

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import check_scoring

from .._numbers import check_integer, is_real, random_generator
from .._parallel import parallel_calls
from ._base import BaseScorer, ScoringData
from ._checks import check_predictor
from ._refits import Utility


class DataShapley(BaseScorer, name="data_shapley"):
    r"""Score the samples by their Shapley value for the estimator.

    Named ``"data_shapley"``. The score is the sample's share of the validation score V,
    in its unit: the average gain from adding it to the samples that precede it in a
    random permutation [1]_,

    .. math:: φ_i = E_π [V(S_π^i ∪ \{i\}) - V(S_π^i)].

    A negative value means that the sample is harmful. A permutation is truncated when V
    comes within `tolerance` of its value on all samples; the remaining samples gain 0
    in it. Each step is a fit of the estimator, without sample weights: up to
    `n_permutations` times n_samples fits, which suits small data and estimators fitted
    in milliseconds.

    The empty set, and samples of a single class, get the score of the best constant
    prediction. The estimator must be able to fit a handful of samples.

    Parameters
    ----------
    n_permutations : int, default=100
        Number of random permutations. The values' standard errors fall with its square
        root.
    tolerance : float, default=0.01
        Distance to the score of all samples at which a permutation is truncated; 0
        for never.
    scoring : str, callable or None, default=None
        V, as in :func:`sklearn.model_selection.cross_validate`; None for the
        estimator's ``score``.
    n_jobs : int or None, default=None
        Number of permutations evaluated in parallel, through joblib.
    random_state : int, RandomState instance or None, default=None
        Draws the permutations. Pass an int for reproducible scores.

    See Also
    --------
    BetaShapley : The same with weights on small or large sets.
    DataBanzhaf : All subsets count the same.
    KNNShapley : Exact and fast, for a nearest-neighbours classifier.

    References
    ----------
    .. [1] A. Ghorbani, J. Zou, "Data Shapley: Equitable Valuation of Data for Machine
       Learning", ICML 2019, Algorithm 1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from skinfluence.scorers import DataShapley
    >>> X, y = load_iris(return_X_y=True)
    >>> scorer = DataShapley(5, random_state=0)
    >>> scorer(GaussianNB(), X[::10], y[::10], X[1::10], y[1::10]).shape
    (15,)
    """

    def __init__(
        self,
        n_permutations: int = 100,
        *,
        tolerance: float = 0.01,
        scoring: str | Callable[..., float] | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_permutations = n_permutations
        self.tolerance = tolerance
        self.scoring = scoring
        self.n_jobs = n_jobs
        self.random_state = random_state

    _estimator_checks = (check_predictor,)
    _required_data = ("X", "y", "X_val", "y_val")

    def _check_parameters(self) -> None:
        check_integer("n_permutations", self.n_permutations, 1)
        if not (is_real(self.tolerance) and 0 <= self.tolerance < np.inf):
            raise ValueError(
                "`tolerance` must be a finite number of at least 0, got "
                f"{self.tolerance!r}."
            )

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        check_scoring(estimator, self.scoring)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the estimated Shapley value of each sample."""
        utility = Utility.of(estimator, self.scoring, data)
        n_samples = len(utility.y)
        # Drawn beforehand, so that they do not depend on n_jobs.
        rng = random_generator(self.random_state)
        orders = [rng.permutation(n_samples) for _ in range(self.n_permutations)]
        full, empty = utility(np.arange(n_samples)), utility(np.arange(0))
        weights = self._weights(n_samples)
        gains = parallel_calls(
            _gains,
            (
                (utility, order, weights, empty, full, self.tolerance)
                for order in orders
            ),
            self.n_jobs,
            words="Permutations",
            unit="permutation",
            total=len(orders),
        )
        return np.mean(gains, axis=0)

    def _weights(self, n_samples: int) -> np.ndarray:
        """Return the weight of a gain by the sample's place in the permutation."""
        return np.ones(n_samples)


def _gains(
    utility: Utility,
    order: np.ndarray,
    weights: np.ndarray,
    empty: float,
    full: float,
    tolerance: float,
) -> np.ndarray:
    """Return each sample's weighted gain when the samples are added in this order."""
    gains, before = np.zeros(len(order)), empty
    for count, row in enumerate(order, start=1):
        # Strict, so that a tolerance of 0 never truncates.
        if abs(full - before) < tolerance:
            break
        now = utility(order[:count])
        gains[row] = weights[count - 1] * (now - before)
        before = now
    return gains
