"""Influence functions at the final model."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from scipy.linalg import eigvalsh
from sklearn.base import BaseEstimator
from torch import Tensor

from .._numbers import is_real, random_generator
from .._warnings import warn_caller
from ..estimators import final_model
from ..exceptions import SolverConvergenceWarning
from ..training import MicroBatch, check_second_derivative, few
from ._base import BaseScorer, ScoringData
from ._checks import check_choice, check_own, is_one_of
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

# Up to _SMALL parameters a dense Hessian is cheap; above _LARGEST it is refused.
_SMALL, _LARGEST = 500, 20_000

# Relative to the largest eigenvalue, for optimizers without a training time.
_LEAST_DAMPING = 0.01

Ends = Callable[[], tuple[float, float]]
"""Returns the Hessian's smallest and largest eigenvalue: computed only if needed."""

RandomState = int | np.random.RandomState | None


class KohLiang(BaseScorer, name="koh_liang"):
    r"""Score the samples by influence functions at the final model.

    Named ``"koh_liang"``. The change of the mean validation loss Q without a sample is
    estimated as if both the final model θ and the model trained without the sample were
    optima of their training objectives (equation 5 of [1]_):

    .. math:: \text{score}_i =
       \tfrac1n ∇Q(θ)^\top (H + λI)^{-1} c_i ∇ℓ_i(θ),

    where H is the Hessian of the training objective, with the sample and class weights
    :math:`c_i` and the optimizer's L2 penalty. The score is in the unit of the
    validation loss, negative for harmful samples, and 0 for rows that were not trained
    on. No recorded run is needed. Dropout and BatchNorm are in evaluation mode.

    A call raises an :class:`~skinfluence.exceptions.IndefiniteHessianError` if the
    Hessian is not positive definite with the given `damping`, and warns with a
    :class:`~skinfluence.exceptions.SolverConvergenceWarning` if the residual exceeds
    `tol`.

    Parameters
    ----------
    solver : {"auto", "cg", "lissa", "direct"}, default="auto"
        How the inverse is applied: by conjugate gradients on Hessian-vector products;
        by the stochastic recursion LiSSA [2]_ on Hessians of batches; or by
        factorizing a dense Hessian. "auto" is "direct" for up to 500 parameters, else
        "cg".
    damping : "auto" or float, default="auto"
        The λ that is added to the Hessian. "auto" shifts a negative smallest eigenvalue
        to 0 and adds the reciprocal of the training time, the sum of all learning
        rates: stopping training early has about the effect of an L2 penalty of that
        size [3]_. Optimizers other than SGD have no such time: there "auto" makes the
        smallest eigenvalue 0.01 of the largest if the Hessian is not positive definite,
        and is 0 otherwise. Use 0 for the plain influence function of a converged model.
    tol : float, default=1e-5
        Residual, relative to the gradient of Q, below which the solver has converged.
        LiSSA rarely gets below 0.01.
    max_iter : int, default=1000
        Maximum number of iterations of "cg"; number of iterations of "lissa".
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
        random_state: RandomState = None,
    ) -> None:
        self.solver = solver
        self.damping = damping
        self.tol = tol
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.random_state = random_state

    _estimator_checks = (check_own,)
    _required_data = ("X_val",)

    def _check_parameters(self) -> None:
        check_choice("solver", self.solver, _SOLVERS)
        number = is_real(self.damping) and 0 <= self.damping < np.inf
        if not is_one_of(self.damping, ["auto"]) and not number:
            raise ValueError(
                "`damping` must be 'auto' or a finite number of at least 0, got "
                f"{self.damping!r}."
            )

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the samples' influence by equation 5."""
        model = final_model(estimator)
        check_second_derivative(
            model.objective,
            model.parameters,
            few(MicroBatch(0, model.batches[0], 0)),
            remedy="Use a scorer that takes no second derivative, such as 'loss'.",
        )
        query = model.query(*data.validation)
        gradients = FinalGradients(model)
        solution = self._solve(gradients, _array(gradients.of_query(query)))
        self.n_iterations_, self.residual_ = solution.n_iterations, solution.residual
        # Negated, so that NaN warns too.
        if not self.residual_ <= self.tol:
            warn_caller(
                f"The solver stopped after {self.n_iterations_} iterations at a "
                f"relative residual of {self.residual_:.3g} (`tol` is {self.tol:g}). "
                "Raise `max_iter` or `damping`, or allow a larger `tol`.",
                SolverConvergenceWarning,
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
        """Return the given damping, or that of the spectrum and the training time."""
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
            "`solver` can be 'direct', which builds a dense Hessian, for at most "
            f"{_LARGEST:,} parameters, got {size:,}. Use 'cg'."
        )
    return dense(product, size)


def _ends(hessian: np.ndarray) -> tuple[float, float]:
    values = eigvalsh(hessian)
    return float(values[0]), float(values[-1])


class _Sampled:
    """Unbiased estimate of the Hessian: each product draws a new batch."""

    def __init__(
        self, gradients: FinalGradients, batch_size: int, random_state: RandomState
    ) -> None:
        self.gradients = gradients
        self.batch_size = batch_size
        self.rng = random_generator(random_state)

    def __call__(self, v: np.ndarray) -> np.ndarray:
        batches = self.gradients.model.batches
        sizes = np.array([len(rows) for rows in batches], dtype=np.float64)
        # Rows of different data sets cannot be fetched together: draw them from one
        # batch, which is chosen in proportion to its size.
        rows = batches[self.rng.choice(len(batches), p=sizes / sizes.sum())]
        chosen = torch.from_numpy(self.rng.randint(len(rows), size=self.batch_size))
        return _product(self.gradients, [rows[chosen]], v)
