"""Kinks: where a function's slope jumps, which its second derivative does not see."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class Kink(NamedTuple):
    """A place where a piecewise quadratic function changes."""

    place: float
    slope: float | Tensor
    """By how much its slope jumps."""
    curvature: float = 0.0
    """By how much its second derivative jumps."""


@dataclass(frozen=True, slots=True)
class _Kinked:
    """A function's value, as what has the kinks sees it: ``share * sum of f(x)``."""

    x: Tensor
    kinks: Sequence[Kink]
    share: float = 1.0

    def missing(self, x: Tensor, width: float) -> Tensor:
        r"""Return what autograd's second derivative of f lacks, element by element.

        That is :math:`E[f''(x + h z)] - f''(x)` for standard normal z, with the jumps
        of the slope in the mean and not in f''. So the sum of the two is the derivative
        of the slope averaged over the neighbourhood.
        """
        x = x.detach()
        h = width * x.std(correction=0)
        total = torch.zeros_like(x)
        for place, slope, curvature in self.kinks:
            z = (x - place) / h
            density = torch.exp(-z.square() / 2) / (math.sqrt(2 * math.pi) * h)
            total = total + slope * density
            if curvature:
                total = total + curvature * (torch.special.ndtr(z) - (z > 0).to(z))
        # What is the same for all, such as zeros, is at no distance from anything.
        return self.share * torch.where(h > 0, total, 0.0)


class _Bend(Function):
    """Returns a value that it changes in nothing but its second derivative in x."""

    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, x: Tensor, missing: Callable[[Tensor], Tensor]) -> Tensor:
        return y.view_as(y)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, x, ctx.missing = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, *along: Any) -> Any:
        (x,) = ctx.saved_tensors
        return along[0], _BentSlope.apply(along[0], x, ctx.missing), None


class _BentSlope(Function):
    """Returns the nothing that is added to the gradient; its own derivative is some."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        along: Tensor, x: Tensor, missing: Callable[[Tensor], Tensor]
    ) -> Tensor:
        # Not +0, which would turn a gradient's -0 around.
        return torch.full_like(x, -0.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        along, x, ctx.missing = inputs
        ctx.save_for_backward(along, x)

    @staticmethod
    def backward(ctx: Any, *direction: Any) -> Any:
        along, x = ctx.saved_tensors
        return None, direction[0] * along * ctx.missing(x), None


class SmoothedKinks(TorchFunctionMode):
    r"""Gives functions with kinks, inside the block, a smoothed second derivative.

    Values and first derivatives stay as they are, to the bit. In the derivative of a
    gradient the function's second derivative is averaged over a Gaussian: that of ReLU,
    which autograd takes for 0, is the Gaussian's density at x.

    Attributes
    ----------
    seen : bool
        Whether there was a function with kinks.

    Parameters
    ----------
    width : float
        Standard deviation of the Gaussian, relative to that of what goes into the
        function, over all elements of the batch.
    """

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width = width
        self.seen = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        find = _FUNCTIONS.get(func)
        if find is None or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        found = find(*args, **kwargs)
        if found is None or not found.x.requires_grad or found.x.is_complex():
            return func(*args, **kwargs)
        self.seen = True
        if not (kwargs.get("inplace") or func in _IN_PLACE):
            return self._bent(func(*args, **kwargs), found)
        # The kinks need what is overwritten, the function what it has written.
        before = found.x.clone()
        y = func(before.clone(), *args[1:], **kwargs)
        return found.x.copy_(self._bent(y, _Kinked(before, found.kinks)))

    def _bent(self, y: Tensor, kinked: _Kinked) -> Any:
        def missing(x: Tensor) -> Tensor:
            return kinked.missing(x, self.width)

        return _Bend.apply(y, kinked.x, missing)


_Finds = Callable[..., _Kinked | None]
"""Takes what the function takes; returns None where it has no kinks."""


def _with(*kinks: Kink) -> _Finds:
    return lambda input, **_: _Kinked(input, kinks)


def _leaky_relu(input: Tensor, negative_slope: float = 0.01, **_: Any) -> _Kinked:
    return _Kinked(input, [Kink(0.0, 1 - negative_slope)])


def _hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, **_: Any
) -> _Kinked | None:
    return _clamp(input, min_val, max_val)


def _clamp(input: Tensor, min: Any = None, max: Any = None, **_: Any) -> _Kinked | None:
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        return None
    if min is not None and max is not None and min >= max:
        return None
    low = [] if min is None else [Kink(min, 1.0)]
    high = [] if max is None else [Kink(max, -1.0)]
    return _Kinked(input, low + high)


def _clamp_max(input: Tensor, max: Any, **_: Any) -> _Kinked | None:
    return _clamp(input, max=max)


def _l1_loss(input: Tensor, target: Tensor, **options: Any) -> _Kinked | None:
    return _loss(input - target, [Kink(0.0, 2.0)], **options)


def _smooth_l1_loss(
    input: Tensor, target: Tensor, *, beta: float = 1.0, **options: Any
) -> _Kinked | None:
    if beta == 0:
        return _l1_loss(input, target, **options)
    kinks = [Kink(-beta, 0.0, 1 / beta), Kink(beta, 0.0, -1 / beta)]
    return _loss(input - target, kinks, **options)


def _huber_loss(
    input: Tensor, target: Tensor, *, delta: float = 1.0, **options: Any
) -> _Kinked | None:
    kinks = [Kink(-delta, 0.0, 1.0), Kink(delta, 0.0, -1.0)]
    return _loss(input - target, kinks, **options)


def _hinge_embedding_loss(
    input: Tensor, target: Tensor, *, margin: float = 1.0, **options: Any
) -> _Kinked | None:
    return _loss(margin - input, [Kink(0.0, (target != 1).to(input))], **options)


def _margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    *,
    margin: float = 0.0,
    **options: Any,
) -> _Kinked | None:
    return _loss(margin - target * (input1 - input2), [Kink(0.0, 1.0)], **options)


def _loss(
    x: Tensor, kinks: Sequence[Kink], reduction: str = "mean", **others: Any
) -> _Kinked | None:
    # Weights, and other ways to say what the reduction is.
    if any(option is not None for option in others.values()):
        return None
    return _Kinked(x, kinks, 1 / x.numel() if reduction == "mean" else 1.0)


_ABS = _with(Kink(0.0, 2.0))
_NAMES: dict[str, _Finds] = {
    "relu": _with(Kink(0.0, 1.0)),
    "relu6": _with(Kink(0.0, 1.0), Kink(6.0, -1.0)),
    "leaky_relu": _leaky_relu,
    "hardtanh": _hardtanh,
    "hardswish": _with(Kink(-3.0, -0.5, 1 / 3), Kink(3.0, -0.5, -1 / 3)),
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp,
    "clamp_max": _clamp_max,
    "abs": _ABS,
    "absolute": _ABS,
    "__abs__": _ABS,
}
_HOMES = torch, Tensor, functional
_IN_PLACE = {
    getattr(home, f"{name}_"): finds
    for name, finds in _NAMES.items()
    for home in _HOMES
    if hasattr(home, f"{name}_")
}
_FUNCTIONS: dict[Callable[..., Any], _Finds] = {
    **{
        getattr(home, name): finds
        for name, finds in _NAMES.items()
        for home in _HOMES
        if hasattr(home, name)
    },
    **_IN_PLACE,
    functional.l1_loss: _l1_loss,
    functional.smooth_l1_loss: _smooth_l1_loss,
    functional.huber_loss: _huber_loss,
    functional.hinge_embedding_loss: _hinge_embedding_loss,
    functional.margin_ranking_loss: _margin_ranking_loss,
}
