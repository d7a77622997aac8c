"""Gradient clipping as it was observed, differentiable."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

# What torch.nn.utils.clip_grad_norm_ adds to the norm before it divides.
_NORM_EPS = 1e-6

_NORM_TYPES = (2.0, math.inf, 1.0, 3.0, 4.0)

# In half precision every factor is that of some simple bound.
_MOST_EPS = 1e-6


def _decimal(digits: int, value: float) -> float:
    return float(f"{value:.{digits}g}")


def _fraction(value: float) -> float:
    return float(Fraction(value).limit_denominator(12))


# What one writes down as a bound, the simplest first; its rounding hides it.
_SIMPLE: tuple[Callable[[float], float], ...] = (
    partial(_decimal, 1),
    partial(_decimal, 2),
    _fraction,
    partial(_decimal, 3),
    partial(_decimal, 4),
)


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
        tolerance = 0.0 if self.kind == "value" else 16 * _eps(after)
        return all(
            torch.allclose(mine, theirs, rtol=tolerance, atol=0.0)
            for mine, theirs in zip(self.clip(before), after, strict=True)
        )


def _eps(gradients: Sequence[Tensor]) -> float:
    return max(torch.finfo(gradient.dtype).eps for gradient in gradients)


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
    candidates = chain([Clipping("value", largest)], _norm_clippings(before, after))
    return next((c for c in candidates if c.explains(before, after)), None)


def _norm_clippings(
    before: Sequence[Tensor], after: Sequence[Tensor]
) -> Iterator[Clipping]:
    """Yield what clipping by norm it may have been, the simplest bounds first.

    Any factor is that of some bound in every norm: it was clipping, and by that norm,
    if the bound is a number that one would write down.
    """
    if _eps(after) > _MOST_EPS:
        return
    bounds = {}
    for norm_type in _NORM_TYPES:
        norm = Clipping("norm", 1.0, norm_type)
        shrunk, full = (float(norm._total_norm(g)) for g in (after, before))
        bounds[norm_type] = shrunk / full * (full + _NORM_EPS) if full else 0.0
    for simple in _SIMPLE:
        for norm_type, bound in bounds.items():
            if math.isfinite(bound):
                yield Clipping("norm", simple(bound), norm_type)
