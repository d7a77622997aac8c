"""Solvers of (H + λ)x = b for a Hessian given by matrix-vector products."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh_tridiagonal, eigvalsh
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, cg, eigsh

from ..exceptions import IndefiniteHessianError

Product = Callable[[np.ndarray], np.ndarray]
"""``product(v) -> H v``, all of shape (p,)."""

# Relative to the largest eigenvalue.
_EIGENVALUE_TOLERANCE = 1e-3

# ARPACK needs more dimensions than requested eigenvalues.
_LANCZOS_FROM = 3

# LiSSA's scale starts at the largest eigenvalue; a batch may have a larger one.
_MOST_DOUBLINGS = 8
_DIVERGED = 1e8


@dataclass(frozen=True, slots=True)
class Solution:
    """Solution of the linear system.

    Attributes
    ----------
    x : ndarray of shape (p,)
        The solution.
    n_iterations : int
        Number of Hessian-vector products.
    residual : float
        ‖b − (H + λ)x‖ / ‖b‖.
    """

    x: np.ndarray
    n_iterations: int
    residual: float


def dense(product: Product, size: int) -> np.ndarray:
    """Return the Hessian as a matrix, (p, p)."""
    columns = np.empty((size, size))
    unit = np.zeros(size)
    for k in range(size):
        unit[k] = 1.0
        columns[k] = product(unit)
        unit[k] = 0.0
    return (columns + columns.T) / 2


def extreme_eigenvalues(product: Product, size: int) -> tuple[float, float]:
    """Return the smallest and the largest eigenvalue, by the Lanczos method.

    The eigenvalue of largest magnitude comes first. Shifting the spectrum by it makes
    the other end the one of largest magnitude, where the method converges fast.
    """
    far = _outermost(product, size)

    def shifted(v: np.ndarray) -> np.ndarray:
        return product(v) - far * v

    other = far + _outermost(shifted, size)
    return min(far, other), max(far, other)


def _outermost(product: Product, size: int) -> float:
    if size < _LANCZOS_FROM:
        values = eigvalsh(dense(product, size))
        return float(values[np.abs(values).argmax()])
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    # A fixed start: ARPACK's own is random, and the scores must be reproducible.
    start = np.random.default_rng(0).normal(size=size)
    try:
        (eigenvalue,) = eigsh(
            operator,
            k=1,
            which="LM",
            tol=_EIGENVALUE_TOLERANCE,
            v0=start,
            return_eigenvectors=False,
        )
    except ArpackNoConvergence as error:
        raise IndefiniteHessianError(
            "The Lanczos method did not converge to an extreme eigenvalue of the "
            "Hessian, which is needed for damping='auto'. Set `damping` to a number."
        ) from error
    return float(eigenvalue)


def solve_direct(hessian: np.ndarray, b: np.ndarray, damping: float) -> Solution:
    """Solve by a Cholesky decomposition."""
    damped = hessian + damping * np.eye(len(b))
    try:
        x = cho_solve(cho_factor(damped), b)
    except np.linalg.LinAlgError as error:
        smallest = float(eigvalsh(hessian, subset_by_index=[0, 0])[0])
        raise _indefinite(damping, smallest) from error
    return Solution(x, len(b), _relative(damped @ x, b))


def solve_cg(
    product: Product, b: np.ndarray, damping: float, tol: float, max_iter: int
) -> Solution:
    """Solve by conjugate gradients; raise an error at negative curvature."""
    count = 0

    def damped(v: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        damped_product = product(v) + damping * v
        curvature = float(v @ damped_product) / float(v @ v)
        if curvature <= 0:
            raise _indefinite(damping, curvature - damping)
        return damped_product

    operator = LinearOperator((len(b), len(b)), matvec=damped, dtype=np.float64)
    x, _ = cg(operator, b, rtol=tol, atol=0.0, maxiter=max_iter)
    if not x.any():
        return Solution(x, count, 0.0 if not b.any() else 1.0)
    # Recomputed: the residual that the recursion updates drifts from the true one.
    return Solution(x, count, _relative(damped(x), b))


def solve_lissa(
    product: Product,
    sampled: Product,
    b: np.ndarray,
    damping: float,
    max_iter: int,
) -> Solution:
    r"""Solve by the stochastic recursion LiSSA.

    .. math:: x_{k+1} = x_k + (b - (H_k + λ) x_k) / σ

    with the Hessian of a batch at each step, and a scale σ that is doubled if the
    recursion diverges. The solution is the mean over the second half of the steps.
    """
    scale = _outermost(product, len(b)) + damping
    if scale <= 0:
        raise _indefinite(damping, scale - damping)
    for _ in range(_MOST_DOUBLINGS):
        x = _recursion(sampled, b, damping, scale, max_iter)
        if x is not None:
            break
        scale *= 2
    else:
        raise IndefiniteHessianError(
            f"LiSSA diverged at every scale up to {scale:.3g}. Use a larger `damping` "
            f"than {damping:.3g}, a larger `batch_size`, or another solver."
        )
    damped_product = product(x) + damping * x
    # A recursion that grows does so along a direction of negative curvature.
    curvature = float(x @ damped_product) / float(x @ x)
    if curvature <= 0:
        raise _indefinite(damping, curvature - damping)
    return Solution(x, max_iter, _relative(damped_product, b))


def solve_flow(product: Product, b: np.ndarray, tol: float, max_iter: int) -> Solution:
    r"""Return x(1) of the flow ẋ = b − Ax from x(0) = 0, by the Lanczos method.

    That is φ(A) b with φ(λ) = (1 − e^{−λ}) / λ, which needs no inverse of A, and A need
    not be definite. The residual is that of the flow at its end.
    """
    size = float(np.linalg.norm(b))
    if size == 0:
        return Solution(np.zeros_like(b), 0, 0.0)
    basis = [b / size]
    diagonal: list[float] = []
    off: list[float] = []
    while True:
        rest = product(basis[-1])
        diagonal.append(float(rest @ basis[-1]))
        vectors = np.stack(basis)
        # Twice: rounding would let the basis lose its orthogonality.
        for _ in range(2):
            rest = rest - vectors.T @ (vectors @ rest)
        length = float(np.linalg.norm(rest))
        values, rotation = eigh_tridiagonal(diagonal, off)
        x = rotation @ (_flow(values) * rotation[0])
        residual = length * abs(float(x[-1]))
        # Negated, so that NaN stops it.
        if not residual > tol or len(basis) >= min(max_iter, len(b)):
            return Solution(size * (x @ vectors), len(basis), residual)
        off.append(length)
        basis.append(rest / length)


def _flow(values: np.ndarray) -> np.ndarray:
    """Return (1 − e^{−λ}) / λ, 1 at 0."""
    return np.divide(
        -np.expm1(-values), values, out=np.ones_like(values), where=values != 0
    )


def _recursion(
    sampled: Product, b: np.ndarray, damping: float, scale: float, max_iter: int
) -> np.ndarray | None:
    x, total = b / scale, np.zeros_like(b)
    limit = _DIVERGED * np.abs(x).max()
    first = max_iter // 2
    for k in range(max_iter):
        x = x + (b - sampled(x) - damping * x) / scale
        # Negated, so that NaN counts as diverged too.
        if not np.abs(x).max() <= limit:
            return None
        if k >= first:
            total += x
    return total / (max_iter - first)


def _relative(damped_product: np.ndarray, b: np.ndarray) -> float:
    size = float(np.linalg.norm(b))
    return float(np.linalg.norm(b - damped_product)) / size if size else 0.0


def _indefinite(damping: float, curvature: float) -> IndefiniteHessianError:
    return IndefiniteHessianError(
        f"`damping` must make the Hessian positive definite, got {damping:.3g}, but "
        f"the objective has a curvature of {curvature:.3g}. Use a larger number, or "
        "'auto'."
    )
