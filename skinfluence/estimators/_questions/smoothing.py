"""How wide the kinks of activations and losses are smoothed on the way back."""

import math
from collections.abc import Callable
from numbers import Real
from typing import NamedTuple

import numpy as np
from torch.utils.checkpoint import CheckpointError

from ..._warnings import warn_caller
from ...exceptions import DivergedTrainingError, UnsupportedModuleError
from ...training import SmoothedKinks
from .._typing import Smoothing

# Tried by "auto", the widest first: a narrower kernel holds too few samples, a wider
# one spreads over most of what goes into the activation.
_WIDTHS = 0.4, 0.2, 0.1, 0.05
# Up to here the exact adjoint does not grow, and there is nothing to mend.
_CALM = 1.05
# Growths this close say nothing about which width is the better one.
_TIE = 1.05
# The exact way leaves out what the kinks do, and may grow less for that reason alone.
_LEFT_OUT = 1.5


class Estimate(NamedTuple):
    """The result of one or several retraces."""

    scores: np.ndarray
    growth: float
    """Of a small change on the way back, the largest of them."""


def check_smoothing(smoothing: object) -> None:
    """Refuse what is no width.

    Parameters
    ----------
    smoothing : object
        What was given.

    Raises
    ------
    ValueError
        If it is not None, "auto" or a finite number of at least 0.
    """
    if smoothing is None or (isinstance(smoothing, str) and smoothing == "auto"):
        return
    number = isinstance(smoothing, Real) and not isinstance(smoothing, (bool, np.bool_))
    if not number or not 0 <= float(smoothing) < math.inf:  # type: ignore[arg-type]
        raise ValueError(
            "`smoothing` must be None, 'auto' or a finite width of at least 0, got "
            f"{smoothing!r}."
        )


def smoothed(
    smoothing: Smoothing, estimate: Callable[[SmoothedKinks | None], Estimate]
) -> Estimate:
    """Return the estimate with kinks smoothed by a width, or by the best one.

    `estimate` differentiates the kinks as it is told; None for the exact derivative.
    """
    if smoothing == "auto":
        return _least_growth(estimate)
    if not smoothing:
        return estimate(None)
    kinks = SmoothedKinks(float(smoothing))
    found = _with_kinks(estimate, kinks)
    if not kinks.seen:
        warn_caller(
            f"`smoothing` ({smoothing!r}) changed nothing: no function with a kink was "
            "seen in this run, and the influence is exact.",
            UserWarning,
        )
    return found


def _least_growth(estimate: Callable[[SmoothedKinks | None], Estimate]) -> Estimate:
    exact = _unless_diverged(estimate, None)
    if exact is not None and exact.growth <= _CALM:
        return exact
    best = None
    for width in _WIDTHS:
        kinks = SmoothedKinks(width)
        found = _unless_diverged(estimate, kinks)
        if not kinks.seen:
            break
        if found is not None and (best is None or _TIE * found.growth < best.growth):
            best = found
    if best is None or (exact is not None and _LEFT_OUT * exact.growth < best.growth):
        best = exact
    # Where all diverge, this says so.
    return estimate(None) if best is None else best


def _unless_diverged(
    estimate: Callable[[SmoothedKinks | None], Estimate], kinks: SmoothedKinks | None
) -> Estimate | None:
    try:
        return estimate(None) if kinks is None else _with_kinks(estimate, kinks)
    except DivergedTrainingError:
        return None


def _with_kinks(
    estimate: Callable[[SmoothedKinks | None], Estimate], kinks: SmoothedKinks
) -> Estimate:
    try:
        return estimate(kinks)
    except CheckpointError:
        # What is computed again on the way back is computed as it was in training.
        raise UnsupportedModuleError(
            "`smoothing` must be None for a module that uses torch.utils.checkpoint: "
            f"kinks in it cannot be smoothed, got a width of {kinks.width}. Set the "
            "module to keep its activations, and fit again."
        ) from None
