"""Influence functions at the final model."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
import torch
from scipy.linalg import eigvalsh
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from torch import Tensor

from ..estimators import final_model
from ..exceptions import SolverConvergenceWarning
from ._checks import check_choice, check_own
from ._gradients import FinalGradients
from ._solvers import (
    Product,
    Solution,
    dense,
    extreme_eigenvalues,
    solve_cg,
    solve_direct,
    solve_lissa,
)

_SOLVERS = ("auto", "cg", "lissa", "direct")

# Up to so many parameters the Hessian is cheap as a matrix; beyond the second it is
# refused.
_SMALL, _LARGEST = 500, 20_000

# What stands in for the reciprocal of the training time where there is none, relative
# to the largest eigenvalue.
_LEAST_DAMPING = 0.01


Ends = Callable[[], tuple[float, float]]
"""The Hessian's smallest and largest eigenvalue."""


class KohLiang(BaseEstimator):
    r"""Score the samples by influence functions at the final model.

    The name ``"koh_liang"`` stands for it. The change of the mean validation loss Q
    without a sample is estimated as if the final model θ were the optimum of the
    training objective, and as if the model without the sample were the optimum too
    (equation 5 of [1]_):

    .. math:: \text{score}_i =
       \tfrac1n ∇Q(θ)^\top (H + λI)^{-1} c_i ∇ℓ_i(θ),

    where H is the Hessian of the training objective, with the sample and class weights
    :math:`c_i` and the optimizer's L2 penalty. Unit: the validation loss's. Negative:
    the sample is harmful. Nothing needs to be recorded. Dropout and BatchNorm are in
    evaluation mode.

    Parameters
    ----------
    solver : {"auto", "cg", "lissa", "direct"}, default="auto"
        How the inverse is applied: conjugate gradients on Hessian-vector products; the
        stochastic recursion LiSSA [2]_ on Hessians of batches; or a dense Hessian.
        With "auto" the last for up to 500 parameters, else the first.
    damping : "auto" or float, default="auto"
        The λ that is added to the Hessian. With "auto" what makes it positive definite,
        minus its smallest eigenvalue if that is negative, and besides the reciprocal of
        the training time, the sum of all learning rates: training that was stopped so
        early leaves the model about where an L2 penalty of that size would [3]_. For
        optimizers other than SGD, where there is no such time, 0.01 of the largest
        eigenvalue, and only where the Hessian is not positive definite. Use 0 for the
        plain influence function of a model that has converged.
    tol : float, default=1e-5
        Up to which residual, relative to the gradient of Q, the solver counts as
        converged. LiSSA hardly gets below 0.01.
    max_iter : int, default=1000
        Most iterations of "cg", and those of "lissa".
    batch_size : int, default=64
        Samples in a batch of "lissa".
    random_state : int, RandomState instance or None, default=None
        Draws the batches of "lissa".

    Attributes
    ----------
    damping_ : float
        The λ of the last call.
    n_iterations_ : int
        Number of Hessian-vector products of the solver in the last call.
    residual_ : float
        :math:`\|∇Q - (H + λI)s\| / \|∇Q\|` of the last call's solution s.

    References
    ----------
    .. [1] P. W. Koh, P. Liang, "Understanding Black-box Predictions via Influence
       Functions", ICML 2017.
    .. [2] N. Agarwal, B. Bullins, E. Hazan, "Second-Order Stochastic Optimization for
       Machine Learning in Linear Time", JMLR 18 (2017).
    .. [3] A. Ali, J. Z. Kolter, R. J. Tibshirani, "A Continuous-Time View of Early
       Stopping for Least Squares Regression", AISTATS 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import KohLiang
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> clf = SGDInfluenceClassifier("linear", random_state=0).fit(X, y)
    >>> scorer = KohLiang()
    >>> scorer(clf, X, y, X_val, y_val).shape
    (112,)
    >>> scorer.residual_ < 1e-5
    True
    """

    def __init__(
        self,
        solver: str = "auto",
        damping: str | float = "auto",
        tol: float = 1e-5,
        max_iter: int = 1000,
        batch_size: int = 64,
        random_state: Any = None,
    ) -> None:
        self.solver = solver
        self.damping = damping
        self.tol = tol
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.random_state = random_state

    def check_estimator(self, estimator: Any) -> None:
        """Raise an error if the estimator has no gradients to ask for.

        Parameters
        ----------
        estimator : object
            The estimator, fitted or not.

        Raises
        ------
        TypeError
            If it is not one of the library's estimators.
        ValueError
            If a parameter of the scorer is not as described.
        """
        check_own(estimator, "koh_liang")
        check_choice("solver", self.solver, _SOLVERS)
        number = isinstance(self.damping, Real) and 0 <= self.damping < np.inf
        if self.damping != "auto" and not number:
            raise ValueError(
                "`damping` must be 'auto' or a finite number of at least 0, got "
                f"{self.damping!r}."
            )

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
        """Return the samples' influence by equation 5.

        Parameters
        ----------
        estimator : object
            One of the library's estimators, fitted on X and y.
        X, y : array-like of n_samples rows
            What it was fitted on; not looked at, the estimator knows them.
        X_val, y_val : array-like of n_val rows
            Validation data.
        sample_weight_val : array-like of shape (n_val,), optional
            Weights of the validation samples.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Estimated change of the mean validation loss without each sample; 0 for
            rows that were not trained on.

        Raises
        ------
        IndefiniteHessianError
            If the Hessian is not positive definite with the `damping` given.

        Warns
        -----
        SolverConvergenceWarning
            If the residual is not as small as `tol`.
        """
        self.check_estimator(estimator)
        model = final_model(estimator)
        query = model.query(X_val, y_val, sample_weight_val)
        gradients = FinalGradients(model)
        solution = self._solve(gradients, _array(gradients.of_query(query)))
        self.n_iterations_, self.residual_ = solution.n_iterations, solution.residual
        if not self.residual_ <= self.tol:
            warnings.warn(
                f"The solver stopped after {self.n_iterations_} iterations at a "
                f"relative residual of {self.residual_:.3g} (asked for: {self.tol:g}). "
                "Raise `max_iter` or `damping`, or allow a larger `tol`.",
                SolverConvergenceWarning,
                stacklevel=2,
            )
        dots = gradients.all_dots(torch.from_numpy(solution.x).to(gradients.penalty))
        return dots.double().cpu().numpy() / gradients.n_trained

    def _solve(self, gradients: FinalGradients, b: np.ndarray) -> Solution:
        """Return (H + λI)⁻¹ b."""
        product = partial(_product, gradients, gradients.model.batches)
        solver = self.solver
        if solver == "auto":
            solver = "direct" if len(b) <= _SMALL else "cg"
        if solver == "direct":
            hessian = _dense(product, len(b))
            self.damping_ = self._damping(gradients, partial(_ends, hessian))
            return solve_direct(hessian, b, self.damping_)
        ends = partial(extreme_eigenvalues, product, len(b))
        self.damping_ = self._damping(gradients, ends)
        if solver == "cg":
            return solve_cg(product, b, self.damping_, self.tol, self.max_iter)
        sampled = _Sampled(gradients, self.batch_size, self.random_state)
        return solve_lissa(product, sampled, b, self.damping_, self.max_iter)

    def _damping(self, gradients: FinalGradients, ends: Ends) -> float:
        """Return the damping: as given, or what the spectrum and the training ask."""
        if self.damping != "auto":
            return float(self.damping)
        smallest, largest = ends()
        time = gradients.model.training_time
        if time:
            return max(0.0, -smallest) + 1 / time
        if smallest > np.finfo(np.float64).eps * largest:
            return 0.0
        return _LEAST_DAMPING * largest - smallest


def _array(vector: Tensor) -> np.ndarray:
    return vector.detach().double().cpu().numpy()


def _product(
    gradients: FinalGradients, batches: Sequence[Tensor], v: np.ndarray
) -> np.ndarray:
    """Return the Hessian of the objective over some batches times v."""
    direction = torch.from_numpy(v).to(gradients.penalty)
    return _array(gradients.hessian_product(direction, batches))


def _dense(product: Product, size: int) -> np.ndarray:
    if size > _LARGEST:
        raise ValueError(
            f"`solver` 'direct' takes a matrix of all pairs of parameters, at most "
            f"{_LARGEST:,} of them, got {size:,}. Use 'cg'."
        )
    return dense(product, size)


def _ends(hessian: np.ndarray) -> tuple[float, float]:
    values = eigvalsh(hessian)
    return float(values[0]), float(values[-1])


class _Sampled:
    """The Hessian of a batch drawn anew at each product, without bias."""

    def __init__(
        self, gradients: FinalGradients, batch_size: int, random_state: Any
    ) -> None:
        self.gradients = gradients
        self.batch_size = batch_size
        self.rng = check_random_state(random_state)

    def __call__(self, v: np.ndarray) -> np.ndarray:
        batches = self.gradients.model.batches
        sizes = np.array([len(rows) for rows in batches], dtype=np.float64)
        # Rows of several data sets are not fetched together: one part, by its size.
        rows = batches[self.rng.choice(len(batches), p=sizes / sizes.sum())]
        some = torch.from_numpy(self.rng.randint(len(rows), size=self.batch_size))
        return _product(self.gradients, [rows[some]], v)
