"""The recorded run without some of its samples."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from skorch.history import History
from torch import Tensor

from ..._progress import tracked
from ..._warnings import warn_caller
from ...exceptions import DivergenceWarning
from ...training import TrainingStep, clear_gradients
from ...trajectory import Replay, Trajectory, on_threads, parameters_digest
from .._net import InfluenceNet, net_modules
from .._recording.pretraining import take_over
from .._replica import Replica
from .._training_data import TrainingData, fingerprint
from .question import earlier_runs
from .recorded_run import RecordedRun, first_step
from .samples import sample_rows
from .stages import check_start


def refitted(
    net: InfluenceNet,
    samples: ArrayLike,
    relabel: Mapping[int, Any] | None,
    last_epochs: int | None,
    stage: str | int | None,
) -> Any:
    """Check the changes, and repeat the recorded run with them."""
    run = RecordedRun.of(net)
    trajectory = run.trajectory
    first = first_step(trajectory, last_epochs)
    earlier = earlier_runs(net, stage, last_epochs)
    n_samples = (trajectory, *(run.trajectory for run in earlier))[-1].n_samples
    rows = sample_rows(samples, n_samples)
    labels = _checked_labels({} if relabel is None else relabel, rows, n_samples)
    run.check(trajectory.n_steps, first)
    if earlier:
        return _refit_from_earlier(net, run, rows, labels, len(earlier))
    absent = torch.zeros(n_samples, dtype=torch.bool)
    absent[torch.from_numpy(rows)] = True
    changed = [
        _relabelled(net, _without(data, absent), labels) for data in run.training_data
    ]
    step, replica = run.repeatable()
    replay = Replay(trajectory, step)
    replay.repeat(trajectory.n_steps, first)
    step.start(replay.state(first))
    replica.net.training_data_ = changed
    step.objective = replace(step.objective, fetch=replica.fetcher())
    return _refitted(net, trajectory, step, replica, first)


def _refit_from_earlier(
    net: InfluenceNet,
    run: RecordedRun,
    rows: np.ndarray,
    labels: Mapping[int, Any],
    number: int,
) -> Any:
    """Repeat the whole run from the outcome of an earlier stage without samples."""
    trajectory = run.trajectory
    step, replica = run.repeatable()
    Replay(trajectory, step).repeat(trajectory.n_steps)
    other = replica.net
    check_start(step, other, trajectory, net.pretrained)
    # Seen from there, it is one stage less.
    other.pretrained = net.pretrained.refit_without(
        rows, relabel=labels, stage=number - 1 or None
    )
    step.start(trajectory.state(0))
    take_over(other, other.pretrained)
    return _refitted(net, trajectory, step, replica, 0)


def _refitted(
    net: InfluenceNet,
    trajectory: Trajectory,
    step: TrainingStep,
    replica: Replica,
    first: int,
) -> Any:
    """Take the recorded steps from the current state of the net's copy."""
    other = replica.net
    other.trajectory_ = _repeated(trajectory, step, first)
    other.history_ = History()
    clear_gradients(other.optimizer_)
    _copy_frozen(net, other)
    return other


def _without(data: TrainingData, absent: Tensor) -> TrainingData:
    """Return the data with weight 0 on the absent samples; |S_t| is unchanged."""
    present = ~absent[data.offset : data.offset + len(data)]
    if present.all():
        return data
    weights = data.weights
    if weights is None:
        weights = torch.ones(len(data), dtype=torch.float64)
    return replace(data, weights=weights * present)


def _checked_labels(
    relabel: Mapping[int, Any], absent: np.ndarray, n_samples: int
) -> dict[int, Any]:
    """Return the labels by row."""
    if not isinstance(relabel, Mapping):
        raise TypeError(
            "`relabel` must be a mapping of rows to labels, got "
            f"{type(relabel).__name__}."
        )
    rows = sample_rows(list(relabel), n_samples, "relabel")
    both = np.intersect1d(rows, absent)
    if len(both):
        raise ValueError(
            "`relabel` must not name samples that are left out, got sample "
            f"{both[0]} in both."
        )
    return dict(zip(rows.tolist(), relabel.values(), strict=True))


def _relabelled(
    net: InfluenceNet, data: TrainingData, labels: Mapping[int, Any]
) -> TrainingData:
    """Return the data with other labels or targets of some rows."""
    rows = [row for row in labels if 0 <= row - data.offset < len(data)]
    if not rows:
        return data
    if not isinstance(data.y, np.ndarray):
        raise TypeError(
            "`relabel` needs targets that were given to fit as y, but a Dataset holds "
            "them. Change them there, and fit again."
        )
    new = np.asarray([labels[row] for row in rows])
    if new.shape[1:] != data.y.shape[1:]:
        raise ValueError(
            f"`relabel` must have targets of shape {data.y.shape[1:]} as in fit, got "
            f"{new.shape[1:]} for sample {rows[0]}."
        )
    y = data.y.copy()
    y[np.asarray(rows) - data.offset] = net._encode_targets(
        new, reset=False, name="relabel"
    )
    dataset = net.get_dataset(data.X, y)
    return replace(data, y=y, dataset=dataset, digest=fingerprint(data.X, y))


def _repeated(trajectory: Trajectory, step: TrainingStep, first: int) -> Trajectory:
    """Take the recorded steps again from step `first` on, the current state."""
    live = step.live
    again = Trajectory(
        trajectory.seed,
        trajectory.keep_epochs,
        list(trajectory.addresses),
        [parameter.detach().clone() for parameter in live.parameters],
        trajectory.records[:first],
        n_samples=trajectory.n_samples,
        interval=trajectory.interval,
        max_bytes=trajectory.max_bytes,
    )
    for record in tracked(trajectory.records[first:], "Repetition", "step"):
        before = live.read() if again.keeps(record.step) else None
        with on_threads(record.n_threads):
            loss = float(step.advance(record))
        digest = parameters_digest(live.layout.flatten(live.parameters))
        again.append(replace(record, digest=digest, loss=loss), before, None)
    again.final = live.read()
    if not again.final.parameters.isfinite().all():
        again.diverged_at = trajectory.n_steps - 1
        warn_caller(
            "Without the samples the run diverged: its final parameters are not "
            "finite.",
            DivergenceWarning,
        )
    return again


def _copy_frozen(net: InfluenceNet, other: InfluenceNet) -> None:
    """Freeze the parameters that are frozen in the first net."""
    for mine, theirs in zip(_parameters(net), _parameters(other), strict=True):
        theirs.requires_grad_(mine.requires_grad)


def _parameters(net: InfluenceNet) -> list[Tensor]:
    return [p for module in net_modules(net) for p in module.parameters()]
