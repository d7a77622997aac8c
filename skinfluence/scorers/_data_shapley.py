"""Data Shapley, by truncated Monte-Carlo, as a scorer."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from ._refits import Utility, unrecorded


class DataShapley(BaseEstimator):
    r"""Score the samples by their Shapley value to the estimator.

    The name ``"data_shapley"`` stands for it. The score is the sample's share in the
    validation score V: what adding it to those before it in a random order gains, on
    average over orders [1]_,

    .. math:: φ_i = E_π [V(S_π^i ∪ \{i\}) - V(S_π^i)],

    and a negative one does harm. An order is followed until V comes within `tolerance`
    of that of all samples; the rest of it then counts for nothing. Each step of it is a
    fit of the estimator, without sample weights: up to `n_permutations` times n_samples
    of them. That suits small data and estimators fitted in milliseconds.

    No samples at all, or those of one class alone, are worth what the best constant
    prediction is. The estimator must be one that can be fitted on few samples.

    Parameters
    ----------
    n_permutations : int, default=100
        Number of random orders. The values' standard errors fall with its square root.
    tolerance : float, default=0.01
        How near to the score of all samples an order is broken off; 0 for never.
    scoring : str, callable or None, default=None
        V, as in :func:`sklearn.model_selection.cross_validate`; None for the
        estimator's ``score``.
    n_jobs : int or None, default=None
        Number of orders at once, through joblib.
    random_state : int, RandomState instance or None, default=None
        Draws the orders. Pass an int for the same ones each time.

    See Also
    --------
    KNNShapley : Exact and fast, to a nearest-neighbours classifier instead.

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
        scoring: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_permutations = n_permutations
        self.tolerance = tolerance
        self.scoring = scoring
        self.n_jobs = n_jobs
        self.random_state = random_state

    def check_estimator(self, estimator: Any) -> None:
        """Raise an error if the estimator cannot be fitted and scored.

        Parameters
        ----------
        estimator : object
            The estimator, fitted or not.

        Raises
        ------
        ValueError
            If a parameter is not as described.
        TypeError
            If it is neither a classifier nor a regressor, or has no ``score`` where
            `scoring` is None.
        """
        if not isinstance(self.n_permutations, Integral) or self.n_permutations < 1:
            raise ValueError(
                "`n_permutations` must be an integer of at least 1, got "
                f"{self.n_permutations!r}."
            )
        if not isinstance(self.tolerance, Real) or not self.tolerance >= 0:
            raise ValueError(
                f"`tolerance` must not be negative, got {self.tolerance!r}."
            )
        if not is_classifier(estimator) and not is_regressor(estimator):
            raise TypeError(
                "`estimator` must be a classifier or a regressor for the scorer "
                f"'data_shapley', got {type(estimator).__name__}."
            )
        check_scoring(estimator, self.scoring)

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        X_val: Any,
        y_val: Any,
        *,
        sample_weight_val: Any = None,
    ) -> np.ndarray:
        """Return the estimated Shapley value of each sample.

        Parameters
        ----------
        estimator : object
            A classifier or regressor; clones of it are fitted.
        X, y : array-like of n_samples rows
            The training samples.
        X_val, y_val : array-like of n_val rows
            Validation data.
        sample_weight_val : array-like of shape (n_val,), optional
            Weights of the validation samples, given to `scoring`.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Values, in the unit of the validation score.
        """
        self.check_estimator(estimator)
        weighted = sample_weight_val is not None
        utility = Utility(
            unrecorded(estimator),
            check_scoring(estimator, self.scoring),
            X,
            np.asarray(y),
            X_val,
            y_val,
            {"sample_weight": sample_weight_val} if weighted else {},
        )
        n_samples = len(utility.y)
        # All orders first: they are the same, however many are followed at once.
        rng = check_random_state(self.random_state)
        orders = [rng.permutation(n_samples) for _ in range(self.n_permutations)]
        whole, nothing = utility(np.arange(n_samples)), utility(np.arange(0))
        gains = Parallel(n_jobs=self.n_jobs)(
            delayed(_gains)(utility, order, nothing, whole, self.tolerance)
            for order in orders
        )
        return np.mean(gains, axis=0)


def _gains(
    utility: Utility,
    order: np.ndarray,
    nothing: float,
    whole: float,
    tolerance: float,
) -> np.ndarray:
    """Return what each sample gains when they are added in an order."""
    gains, before = np.zeros(len(order)), nothing
    for count, row in enumerate(order, start=1):
        if abs(whole - before) < tolerance:
            break
        now = utility(order[:count])
        gains[row] = now - before
        before = now
    return gains
