"""The stages of a training: an estimator, the one it started from, and so on."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...exceptions import IrreproducibleStepError
from ...influence import Stage
from ...training import Address, Handover, TrainingStep
from ...trajectory import Trajectory
from .._net import InfluenceNet
from .._recording.pretraining import shared_tensors
from .._replica import Replica
from .question import EarlierRun, Question


def stages_of(
    net: InfluenceNet, question: Question, *, derivative: bool = True
) -> tuple[list[Stage], Replica]:
    """Return the stages in question, and the copy of the net to query.

    `derivative` tells whether they are to be differentiated, or only repeated.
    """
    owners = [net, *(earlier.net for earlier in question.earlier)]
    stages: list[Stage] = []
    copies: list[Replica] = []
    queried: list[Replica] = []
    parts: list[Question | EarlierRun] = [question, *question.earlier]
    for owner, part in zip(owners, parts, strict=True):
        trajectory = part.run.trajectory
        extra = () if owner is owners[-1] else _untrained(owner, trajectory)
        step, replica = part.run.repeatable(extra)
        if stages:
            later = stages[-1]
            check_start(later.step, copies[-1].net, later.trajectory, owner)
            handover = _handover(later.step, copies[-1].net, step, replica.net)
            stages[-1] = replace(later, handover=handover)
        back, wide = step, replica
        if derivative:
            back, wide = replica.differentiable(trajectory, step, extra)
        stages.append(Stage(trajectory, step, back, part.at, part.run.first))
        copies.append(replica)
        queried.append(wide)
    return stages, queried[0]


def _untrained(net: InfluenceNet, trajectory: Trajectory) -> list[Address]:
    """Return the addresses of parameters that were taken over and never trained."""
    places = {
        id(parameter): (group, index)
        for group, options in enumerate(net.optimizer_.param_groups)
        for index, parameter in enumerate(options["params"])
    }
    parameters = dict(net.module_.named_parameters())
    absent = [k for k in net.pretrained_parameters_ if id(parameters[k]) not in places]
    if absent:
        raise ValueError(
            "The optimizer must hold every parameter that was taken over from "
            f"`pretrained`, frozen or not, but lacks {absent}."
        )
    taken_over = [places[id(parameters[k])] for k in net.pretrained_parameters_]
    trained = set(trajectory.addresses)
    return [address for address in taken_over if address not in trained]


def check_start(
    step: TrainingStep,
    copied: InfluenceNet,
    trajectory: Trajectory,
    pretrained: InfluenceNet,
) -> None:
    """Refuse a pretrained estimator that was changed since the run started."""
    step.live.show(trajectory.state(0))
    pairs = shared_tensors(copied, pretrained).values()
    if not all(torch.equal(first, last.to(first)) for first, last in pairs):
        raise IrreproducibleStepError(
            "`pretrained` must be as it was when this estimator started from it, but "
            "its parameters are others now: it was trained since, or replaced. Fit "
            "again."
        )


def _handover(
    step: TrainingStep,
    copied: InfluenceNet,
    earlier: TrainingStep,
    other: InfluenceNet,
) -> Handover:
    """Return which of a run's first values are the last of an earlier run."""
    pairs = list(shared_tensors(copied, other).values())
    return Handover(
        _positions(pairs, step.live.parameters, earlier.live.parameters),
        _positions(pairs, step.live.buffers, earlier.live.buffers),
    )


def _positions(
    pairs: Sequence[tuple[Tensor, Tensor]],
    later: Sequence[Tensor],
    earlier: Sequence[Tensor],
) -> list[tuple[int, int]]:
    """Return the positions of the pairs that both runs have in their states."""
    first = {id(tensor): position for position, tensor in enumerate(later)}
    last = {id(tensor): position for position, tensor in enumerate(earlier)}
    return [
        (first[id(tensor)], last[id(other)])
        for tensor, other in pairs
        if id(tensor) in first and id(other) in last
    ]
