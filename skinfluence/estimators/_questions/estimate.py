"""The estimate that the questions share: a retrace, with kinks smoothed or not."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from torch.utils.checkpoint import CheckpointError

from ..._numbers import is_real
from ..._progress import tracked
from ..._warnings import warn_caller
from ...exceptions import (
    DivergedTrainingError,
    InfluenceReliabilityWarning,
    UnsupportedModuleError,
)
from ...influence import Query, SampleQueries, Stage, retrace_stages
from ...training import Ranks, SmoothedKinks, TrainingStep
from .._net import InfluenceNet
from .._replica import Replica
from .._typing import Smoothing
from .later_faults import check_derivatives
from .question import Question, check_same_question, query_of
from .stages import stages_of

# How much the retrace of many queries at once may take for them.
_QUERY_BYTES = 2**29

# Tried by "auto", the widest first: a narrower kernel holds too few samples, a wider
# one spreads over most of what goes into the activation.
_WIDTHS = 0.4, 0.2, 0.1, 0.05
# Up to here the exact adjoint does not grow, and there is nothing to mend.
_CALM = 1.05
# Growths this close say nothing about which width is the better one.
_TIE = 1.05
# The exact way leaves out what the kinks do, and may grow less for that reason alone.
_LEFT_OUT = 1.5

# How far a change may grow on its way back through the run without a warning.
_MOST_GROWTH = 3.0


class Estimate(NamedTuple):
    """The result of one or several retraces."""

    scores: np.ndarray
    growth: float
    """Of a small change on the way back, the largest of them."""


def estimate(
    net: InfluenceNet,
    question: Question,
    kinks: SmoothedKinks | None,
    *,
    kind: type[Query] = Query,
    step_kind: Callable[..., TrainingStep] | None = None,
) -> Estimate:
    """Retrace the run, with kinks differentiated as told."""
    check_same_question(net, question)
    stages, replica = differentiable_stages(net, question, kinks, step_kind)
    kinds: Iterable[Callable[..., Query]] = [kind]
    if kind is SampleQueries:
        parts = parts_in_memory(len(question.dataset), stages)
        kinds = (partial(SampleQueries, rows=rows) for rows in parts)
    progress = progress_of(net)
    with _together(stages, net._ranks):
        retraces = [
            retrace_stages(stages, query_of(replica, question, each), progress)
            for each in kinds
        ]
    check_derivatives(stages, query_of(replica, question))
    scores = np.concatenate([each.scores.cpu().numpy() for each in retraces], axis=-1)
    return Estimate(scores, max(each.growth for each in retraces))


@contextmanager
def _together(stages: Sequence[Stage], ranks: Ranks) -> Iterator[None]:
    """Let several processes take the steps together.

    What follows a retrace looks at steps that differ from process to process.
    """
    steps = [step for stage in stages for step in (stage.step, stage.back)]
    for step in steps:
        step.ranks = ranks
    try:
        yield
    finally:
        for step in steps:
            step.ranks = Ranks()


def differentiable_stages(
    net: InfluenceNet,
    question: Question,
    kinks: SmoothedKinks | None,
    step_kind: Callable[..., TrainingStep] | None = None,
) -> tuple[list[Stage], Replica]:
    """Return the stages with the steps for the way back, and the copy to query."""
    stages, replica = stages_of(net, question)
    if kinks is not None:
        # Not a compiled one, which has been traced without them.
        stages = [_with_step(stage, TrainingStep, kinks) for stage in stages]
    if step_kind is not None:
        stages[-1] = _with_step(stages[-1], step_kind, kinks)
    return stages, replica


def _with_step(
    stage: Stage,
    step_kind: Callable[..., TrainingStep],
    kinks: SmoothedKinks | None,
) -> Stage:
    return replace(stage, back=step_kind(stage.back.objective, stage.back.live, kinks))


def reliable(scores: np.ndarray, growth: float) -> np.ndarray:
    """Return the scores, with a warning if they may be unreliable."""
    if growth > _MOST_GROWTH:
        _warn_of_growth(growth)
    return scores


def progress_of(net: InfluenceNet) -> Callable[[Any], Any]:
    """Return what wraps the steps of a retrace in a progress bar, if one is shown."""
    return partial(tracked, words="Retrace", unit="step", verbose=net.verbose)


def _warn_of_growth(growth: float) -> None:
    warn_caller(
        "The influence may be unreliable: on its way back through this run a small "
        f"change grew {growth:.3g} times (usual is up to {_MOST_GROWTH:g}), as it does "
        "in long training at a large learning rate. Compare some samples with the "
        "truth (`check_influence`). What helps: at='path', `last_epochs`, fewer "
        "epochs, a smaller learning rate, smoothing='auto' for a network with ReLU, or "
        "`verify` for the samples that matter.",
        InfluenceReliabilityWarning,
    )


def parts_in_memory(
    n: int, stages: Sequence[Stage], most: int | None = None
) -> Iterator[range]:
    """Split samples so that the way through the run for each part fits in memory."""
    size = max(1, min(most or n, _QUERY_BYTES // max(map(_query_bytes, stages))))
    return (range(start, min(start + size, n)) for start in range(0, n, size))


def _query_bytes(stage: Stage) -> int:
    """Return the memory that the retrace of one query takes."""
    trajectory, step = stage.trajectory, stage.back
    record = max(trajectory.records, key=lambda record: len(record.rows))
    vectors = 4 + len(step.live.moments)
    size = trajectory.state(trajectory.n_steps).parameters.numel()
    parameters = size * step.live.dtype.itemsize
    return step.activation_bytes(record) + vectors * parameters


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
    if not is_real(smoothing) or not 0 <= float(smoothing) < math.inf:
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
    result = _with_kinks(estimate, kinks)
    if not kinks.seen:
        warn_caller(
            f"`smoothing` ({smoothing!r}) changed nothing: this run has none of the "
            "functions whose kinks can be smoothed, and the influence is its exact "
            "derivative.",
            UserWarning,
        )
    return result


def _least_growth(estimate: Callable[[SmoothedKinks | None], Estimate]) -> Estimate:
    exact = _unless_diverged(estimate, None)
    if exact is not None and exact.growth <= _CALM:
        return exact
    best = None
    for width in _WIDTHS:
        kinks = SmoothedKinks(width)
        result = _unless_diverged(estimate, kinks)
        if not kinks.seen:
            break
        if result is not None and (best is None or _TIE * result.growth < best.growth):
            best = result
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
