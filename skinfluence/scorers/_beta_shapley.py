"""Beta Shapley values as a scorer."""

from collections.abc import Callable

import numpy as np
from scipy.special import betaln, gammaln

from .._numbers import is_real
from ._data_shapley import DataShapley


class BetaShapley(DataShapley, name="beta_shapley"):
    r"""Score the samples by their Beta Shapley value for the estimator.

    Named ``"beta_shapley"``. The score is the semivalue [1]_

    .. math:: φ_i = \frac{1}{n} \sum_{j=1}^n \tilde w_j Δ_j(i), \quad
       \tilde w_j = n \binom{n - 1}{j - 1}
       \frac{B(j + β - 1, n - j + α)}{B(α, β)},

    where :math:`Δ_j(i)` is the average gain of the validation score V from adding the
    sample to j − 1 others, in V's unit. With α = β = 1 it is :class:`DataShapley`; with
    α > β small sets count more, to which one sample matters most and whose gains have
    the least noise. As there, random permutations estimate it, now with the gain of the
    sample at place j weighted by :math:`\tilde w_j`, at the same cost.

    Parameters
    ----------
    alpha, beta : float, default=16.0 and 1.0
        The α and β, above 0. The paper finds most wrong labels with the defaults.
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
    DataShapley : All sizes of sets count the same.
    DataBanzhaf : All subsets count the same.

    References
    ----------
    .. [1] Y. Kwon, J. Zou, "Beta Shapley: a Unified and Noise-reduced Data Valuation
       Framework for Machine Learning", AISTATS 2022, section 3.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from skinfluence.scorers import BetaShapley
    >>> X, y = load_iris(return_X_y=True)
    >>> scorer = BetaShapley(4, 1, n_permutations=5, random_state=0)
    >>> scorer(GaussianNB(), X[::10], y[::10], X[1::10], y[1::10]).shape
    (15,)
    """

    def __init__(
        self,
        alpha: float = 16.0,
        beta: float = 1.0,
        *,
        n_permutations: int = 100,
        tolerance: float = 0.01,
        scoring: str | Callable[..., float] | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            n_permutations,
            tolerance=tolerance,
            scoring=scoring,
            n_jobs=n_jobs,
            random_state=random_state,
        )
        self.alpha = alpha
        self.beta = beta

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("alpha", "beta"):
            value = getattr(self, name)
            if not (is_real(value) and 0 < value < np.inf):
                raise ValueError(
                    f"`{name}` must be a finite number above 0, got {value!r}."
                )

    def _weights(self, n_samples: int) -> np.ndarray:
        n, j = n_samples, np.arange(1, n_samples + 1)
        # In logarithms: the factors overflow.
        subsets = gammaln(n) - gammaln(j) - gammaln(n - j + 1)
        share = betaln(j + self.beta - 1, n - j + self.alpha)
        share -= betaln(self.alpha, self.beta)
        weights: np.ndarray = n * np.exp(subsets + share)
        return weights
