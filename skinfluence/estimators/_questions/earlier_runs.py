"""The stages of a training: an estimator, the one it started from, and so on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...exceptions import IrreproducibleStepError, NotRecordedError
from ...influence import Stage
from ...training import Address, Handover, TrainingStep
from ...trajectory import Trajectory
from .._net import InfluenceNet
from .._recording.pretraining import shared_tensors
from .._replica import Replica
from .epochs import is_integer
from .recorded_run import RecordedRun

NEAREST = "pretraining"


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """The run of an estimator that another one started from.

    Attributes
    ----------
    net : InfluenceNet
        The estimator.
    run : RecordedRun
        Its run.
    at : mapping of int to float
        Its final state, from which the other run started.
    """

    net: InfluenceNet
    run: RecordedRun
    at: Mapping[int, float]

    @property
    def trajectory(self) -> Trajectory:
        """What was recorded."""
        return self.run.trajectory

    @property
    def first(self) -> int:
        """The step before which everything is taken as given."""
        return self.run.first


def stages_back(net: InfluenceNet, stage: str | int | None) -> int:
    """Return how many stages back `stage` is."""
    if stage is None:
        return 0
    chain = [net]
    # What was set after fit is no part of what was trained.
    while hasattr(chain[-1], "pretrained_parameters_"):
        chain.append(chain[-1].pretrained)
    last = len(chain) - 1
    if last == 0:
        raise ValueError(
            "`stage` must be None for an estimator that did not start from another "
            f"one, got {stage!r}. Fit it with `pretrained`."
        )
    number = 1 if isinstance(stage, str) and stage == NEAREST else stage
    if not is_integer(number) or not 1 <= number <= last:
        raise ValueError(
            f"`stage` must be None, {NEAREST!r}, or how many stages back, 1 to {last} "
            f"for this estimator, got {stage!r}."
        )
    return int(number)


def earlier_runs(
    net: InfluenceNet, stage: str | int | None, last_epochs: int | None
) -> tuple[EarlierRun, ...]:
    """Return the runs back to a stage, the nearest first, checked."""
    number = stages_back(net, stage)
    if number and last_epochs is not None:
        raise ValueError(
            "`last_epochs` must be None with `stage`, for the way to earlier stages "
            f"leads through the whole run, got {last_epochs!r}."
        )
    runs = []
    for k in range(number):
        assert net.trajectory_ is not None
        _check_whole(net.trajectory_, k)
        net = net.pretrained
        run = RecordedRun.of(net)
        n_steps = run.trajectory.n_steps
        run.check(n_steps, run.first)
        runs.append(EarlierRun(net, run, {n_steps: 1.0}))
    return tuple(runs)


def _check_whole(trajectory: Trajectory, back: int) -> None:
    """Refuse to retrace a run whose beginning was not recorded."""
    if trajectory.first_recorded_step:
        which = f"The estimator {back} stages back" if back else "The estimator"
        raise NotRecordedError(
            f"{which} must have recorded its whole run, for the way to earlier stages "
            f"leads through all of it, but {trajectory.first_recorded_step} steps at "
            "its beginning are missing. Fit it with record='all'."
        )


def stages_of(
    net: Any, asked: Any, *, derivative: bool = True
) -> tuple[list[Stage], Replica]:
    """Return the stages in question, and the copy of the net to query.

    `derivative` tells whether they are to be differentiated, or only repeated.
    """
    owners = [net, *(earlier.net for earlier in asked.earlier)]
    stages: list[Stage] = []
    copies: list[Replica] = []
    queried: list[Replica] = []
    for owner, part in zip(owners, (asked, *asked.earlier), strict=True):
        given = () if owner is owners[-1] else _given(owner, part.trajectory)
        step, replica = part.run.repeatable(given)
        if stages:
            later = stages[-1]
            check_start(later.step, copies[-1].net, later.trajectory, owner)
            handover = _handover(later.step, copies[-1].net, step, replica.net)
            stages[-1] = replace(later, handover=handover)
        back, wide = step, replica
        if derivative:
            back, wide = replica.differentiable(part.trajectory, step, given)
        stages.append(Stage(part.trajectory, step, back, part.at, part.first))
        copies.append(replica)
        queried.append(wide)
    return stages, queried[0]


def _given(net: InfluenceNet, trajectory: Trajectory) -> list[Address]:
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
    every = [places[id(parameters[name])] for name in net.pretrained_parameters_]
    trained = set(trajectory.addresses)
    return [address for address in every if address not in trained]


def check_start(
    step: TrainingStep,
    copied: InfluenceNet,
    trajectory: Trajectory,
    pretrained: InfluenceNet,
) -> None:
    """Refuse a pretrained estimator that was changed since the run started."""
    step.live.show(trajectory.state(0))
    pairs = shared_tensors(copied, pretrained).values()
    if not all(torch.equal(own, theirs.to(own)) for own, theirs in pairs):
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
    own: Sequence[Tensor],
    others: Sequence[Tensor],
) -> list[tuple[int, int]]:
    """Return the positions of the pairs that both runs have in their states."""
    mine = {id(tensor): position for position, tensor in enumerate(own)}
    theirs = {id(tensor): position for position, tensor in enumerate(others)}
    return [
        (mine[id(tensor)], theirs[id(other)])
        for tensor, other in pairs
        if id(tensor) in mine and id(other) in theirs
    ]
