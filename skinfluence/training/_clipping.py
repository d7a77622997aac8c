"""Gradient clipping as it was observed, differentiable."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

# What torch.nn.utils.clip_grad_norm_ adds to the norm before it divides.
_NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Clipping:
    """Clipping of a step's gradients by their total norm or by value.

    Attributes
    ----------
    kind : {"norm", "value"}
        ``torch.nn.utils.clip_grad_norm_`` or ``clip_grad_value_``.
    bound : float
        The largest norm or absolute value.
    norm_type : float
        Order of the norm; unused for ``"value"``.
    """

    kind: Literal["norm", "value"]
    bound: float
    norm_type: float = 2.0

    def clip(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return the clipped gradients, differentiably."""
        if self.kind == "value":
            return [gradient.clamp(-self.bound, self.bound) for gradient in gradients]
        factor = (self.bound / (self._total_norm(gradients) + _NORM_EPS)).clamp(max=1.0)
        return [gradient * factor for gradient in gradients]

    def clip_(self, parameters: Sequence[Tensor]) -> None:
        """Clip the parameters' ``grad`` in place, as ``torch.nn.utils`` does."""
        if self.kind == "value":
            clip_grad_value_(parameters, self.bound)
        else:
            clip_grad_norm_(parameters, self.bound, norm_type=self.norm_type)

    def _total_norm(self, gradients: Sequence[Tensor]) -> Tensor:
        norms = [torch.linalg.vector_norm(g, self.norm_type) for g in gradients]
        return torch.linalg.vector_norm(torch.stack(norms), self.norm_type)

    def explains(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
        """Whether clipping `before` gives `after`, up to rounding."""
        # A few units in the last place: the factor is computed in the same precision.
        tolerance = 16 * torch.finfo(after[0].dtype).eps
        return all(
            torch.allclose(mine, theirs, rtol=tolerance, atol=0.0)
            for mine, theirs in zip(self.clip(before), after, strict=True)
        )


def observe_clipping(
    before: Sequence[Tensor],
    after: Sequence[Tensor],
    known: Clipping | None = None,
) -> Clipping | None:
    """Return the clipping that turns the gradients `before` into `after`.

    Parameters
    ----------
    before, after : sequence of Tensor
        The parameters' gradients before and after the callbacks saw them.
    known : Clipping or None
        The expected clipping, which is tried first.

    Returns
    -------
    Clipping or None
        None if no known clipping explains the change.
    """
    if known is not None and known.explains(before, after):
        return known
    largest = max(float(gradient.abs().max()) for gradient in after)
    candidates = [Clipping("value", largest)]
    for norm_type in (2.0, float("inf"), 1.0):
        norm = Clipping("norm", 1.0, norm_type)
        shrunk, full = (float(norm._total_norm(g)) for g in (after, before))
        bound = shrunk / full * (full + _NORM_EPS) if full else 0.0
        candidates += [
            # The bound is most often a short decimal, which its rounding hides.
            Clipping("norm", float(f"{bound:.4g}"), norm_type),
        ]
    for candidate in candidates:
        if candidate.explains(before, after):
            return candidate
    return None
