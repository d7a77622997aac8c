"""A bound of the error of a linear influence estimate, for a convex loss."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Curvature:
    r"""Bounds on the derivatives of a criterion in the outputs of one sample.

    Attributes
    ----------
    second : float
        Of the norm of the second derivative :math:`A(z) = ∂²ℓ/∂z²`, which must be
        positive semidefinite.
    third : float
        Of :math:`\|A(z + v) - A(z)\| / \|v\|`.
    """

    second: float
    third: float


class ErrorBound:
    r"""Bounds on the effect of leaving one sample out of a linear model's training.

    The counterfactual run minus the recorded one, :math:`δ_t`, and the linear estimate
    :math:`Δ_t` of it both start at 0 and follow, with plain SGD,

    .. math::

       δ_{t+1} &= (I - η_t(\bar H_t^{-j} + αI)) δ_t
                  + η_t \tfrac{c_j}{|S_t|} g_j(θ_t), \\
       Δ_{t+1} &= (I - η_t(H_t + αI)) Δ_t + η_t \tfrac{c_j}{|S_t|} g_j(θ_t),

    with the last term in the steps that use the sample only, and with :math:`\bar H`
    the Hessian averaged between the two runs. For a convex loss both matrices have
    norms of at most :math:`ρ_t`, which bounds :math:`\|δ_t\|, \|Δ_t\| \le d_t`, as in
    the proof of Theorem 5 of Hara, Nitanda and Maehara (2019), and
    :math:`\|δ_t - Δ_t\| \le e_t`, since the two Hessians differ by no more than the
    largest of either, and by no more than the third derivative and the sample's own
    part allow.

    Parameters
    ----------
    n_samples : int
        Number of training samples: there is one bound for leaving out each.
    curvature : Curvature
        The criterion's.
    """

    def __init__(self, n_samples: int, curvature: Curvature) -> None:
        self.curvature = curvature
        self.change = torch.zeros(n_samples, dtype=torch.float64)
        self.error = torch.zeros(n_samples, dtype=torch.float64)

    def advance(
        self,
        rows: Tensor,
        inputs: Tensor,
        slopes: Tensor,
        coefficients: Tensor,
        lr: float,
        weight_decay: float,
    ) -> None:
        r"""Take a step of the run into account.

        Parameters
        ----------
        rows : Tensor of shape (batch,)
            The samples of the batch.
        inputs : Tensor of shape (batch, features)
            What the weights multiply, with a column of ones for the intercept.
        slopes : Tensor of shape (batch, outputs)
            :math:`∂ℓ_i/∂z_i` at the recorded state.
        coefficients : Tensor of shape (batch,)
            :math:`c_i / |S_t|`.
        lr, weight_decay : float
            :math:`η_t` and α.
        """
        norms = inputs.norm(dim=1)
        weighted = coefficients.sqrt()[:, None] * inputs
        # The largest eigenvalue of Σ c_i x xᵀ / |S|, from the smaller Gram matrix.
        spread = float(torch.linalg.matrix_norm(weighted, 2)) ** 2
        largest = self.curvature.second * spread
        kept, shrunk = 1 - lr * weight_decay, 1 - lr * (weight_decay + largest)
        contraction = max(abs(kept), abs(shrunk))
        along = 0.5 * self.curvature.third * float(norms.max()) * spread * self.change
        own = self.curvature.second * coefficients * norms.square()
        along.index_add_(0, rows, own)
        hessians = along.clamp_max_(largest)
        self.error = contraction * self.error + lr * hessians * self.change
        self.change = contraction * self.change
        own = lr * coefficients * slopes.norm(dim=1) * norms
        self.change.index_add_(0, rows, own)

    def of_query(self, slope: float, curvature: float) -> Tensor:
        r"""Bound the error of a query's estimated change.

        Parameters
        ----------
        slope : float
            :math:`\|∂Q/∂θ\|` at the recorded state.
        curvature : float
            A bound of the norm of :math:`∂²Q/∂θ²` everywhere.

        Returns
        -------
        Tensor of shape (n_samples,), float64
            In Q's unit.
        """
        return slope * self.error + 0.5 * curvature * self.change.square()
