"""What a run takes over from another run's end, forwards and backwards."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ._flat import LiveState

Pair = tuple[int, int]
"""A position in the run that begins, and the one in the run that has ended."""


@dataclass(frozen=True, slots=True)
class Handover:
    r"""Which of a run's first parameters and buffers come from another run's end.

    Forwards they are copied. Backwards the adjoint of the first state becomes that of
    the other run's final state: with :math:`θ_0 = Pθ'_T + \text{const}` and
    :math:`λ'_T = P^\top λ_0`. The optimizer's state is not taken over.

    Attributes
    ----------
    parameters : sequence of (int, int)
        Positions among the parameters of the run that begins, and of the other.
    buffers : sequence of (int, int)
        The same for the buffers.
    """

    parameters: Sequence[Pair]
    buffers: Sequence[Pair] = ()

    @torch.no_grad()
    def forward(self, source: LiveState, live: LiveState) -> None:
        """Start a run, or a stack of runs, from the present state of others.

        Parameters
        ----------
        source : LiveState
            The state of the other run.
        live : LiveState
            The first state of the run; changed.
        """
        for own, other in self.parameters:
            live.parameters[own].copy_(source.parameters[other])
        for own, other in self.buffers:
            live.buffers[own].copy_(source.buffers[other])

    def backward(self, adjoint: Tensor, live: LiveState, source: LiveState) -> Tensor:
        """Return the adjoint of the other run's last parameters.

        Parameters
        ----------
        adjoint : Tensor of shape (p,) or (q, p)
            ∂Q/∂θ of the first state of the run that begins.
        live, source : LiveState
            Of that run and of the other; only their layouts matter.

        Returns
        -------
        Tensor of shape (p',) or (q, p')
        """
        like = source.parameters[0].to(source.dtype)
        found = like.new_zeros(*adjoint.shape[:-1], source.layout.size)
        slopes, sums = live.layout.split(adjoint), source.layout.split(found)
        for own, other in self.parameters:
            # Tied parameters may have become several: their adjoints add up.
            sums[other] += slopes[own].to(like)
        return found
