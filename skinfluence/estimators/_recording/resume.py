"""Runs in folders: which one a fit resumes, and how it gets to its last state."""

import inspect
from pathlib import Path
from typing import Any

import joblib
import torch
from skorch.callbacks import (
    Callback,
    EpochScoring,
    EpochTimer,
    GradientNormClipping,
    LRScheduler,
    ParamMapper,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
)
from skorch.net import NeuralNet

from ..._files import writing
from ..._names import with_current_names
from ..._warnings import warn_caller
from ...exceptions import (
    IrreproducibleStepError,
    ResumeWarning,
    TrajectoryFileError,
    TrajectoryInUseError,
)
from ...training import LiveState, clear_gradients, moment_names
from ...trajectory import (
    StepRecord,
    Trajectory,
    begin_run,
    is_starting,
    read_manifest,
    resumed,
    run_folders,
)
from .._modules import earlier_module_defaults, module_defaults
from .._net import InfluenceNet, net_buffers
from .._training_data import TrainingData, is_fingerprint
from .going_back import replay_of
from .observations import hyperparameters
from .pretraining import digest_of
from .training_run import TrainingRun
from .values import IncomparableError, digest_of_value, text_of

# Parameters that may change when a run is resumed: they do not affect its steps. What
# is compared of `random_state` is the seed.
_FREE = {
    "checkpoint_every",
    "max_epochs",
    "max_trajectory_bytes",
    "random_state",
    "torch_load_kwargs",
    "trajectory_dir",
    "use_caching",
    "verbose",
    "stop_on_interrupt",
    "warm_start",
}

# Callbacks that see losses, times and learning rates, but neither model nor outputs.
_BLIND = (
    EpochTimer,
    GradientNormClipping,
    LRScheduler,
    ParamMapper,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
)

# What stands in the digest's place.
_NO_DIGEST = "cannot be compared"

_WITHIN_EPOCHS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


def run_in_folder(net: InfluenceNet, data: TrainingData, *, resume: bool) -> Trajectory:
    """Return the run on disk that a net's first call of fit resumes or begins."""
    assert net.trajectory_dir is not None
    assert net.trajectory_ is not None
    parent, about = _absolute(Path(net.trajectory_dir)), _described(net, data)
    reasons = []
    if resume:
        net._initialize_callbacks()  # whether steps may be skipped depends on them
    for folder in run_folders(parent) if resume else ():
        try:
            manifest = read_manifest(folder)
            reason = _difference(net, manifest, about, data) or _obstacle(net, folder)
            if reason is None:
                return resumed(folder, net.device)
            if manifest["finished"]:
                continue
        except TrajectoryInUseError:
            continue
        except IncomparableError as error:
            reason = str(error)
        except TrajectoryFileError as error:
            if is_starting(folder):
                continue
            reason = str(error)
        reasons.append(f"{folder.name}: {reason}")
    if reasons:
        warn_caller(
            f"No run in {str(parent)!r} can be resumed ({'; '.join(reasons)}): a new "
            "one begins.",
            ResumeWarning,
        )
    return begin_run(parent, net.trajectory_, about, net.device)


def _absolute(folder: Path) -> Path:
    with writing(folder):  # the working folder may be gone
        return folder.absolute()


def _described(net: InfluenceNet, data: TrainingData) -> dict[str, Any]:
    """Return what identifies a run, as JSON."""
    own = {k: v for k, v in net.get_params(deep=False).items() if k not in _FREE}
    # What "auto" chose, the data tells.
    parameters = {**module_defaults(net.module), **own, "criterion": net._criterion()}
    parameters["pretrained"] = digest_of(net.pretrained)
    values = {f"`{name}`": _digest(value) for name, value in sorted(parameters.items())}
    # A class has a text too: two modules may have classes of one name.
    values["estimator"] = _digest(type(net)) or text_of(type(net))
    return {
        "estimator": type(net).__qualname__,
        "data": data.digest,
        "sample_weight": joblib.hash(
            None if data.weights is None else data.weights.numpy()
        ),
        **{f"`{name}`": text_of(value) for name, value in sorted(parameters.items())},
        "values": {name: value for name, value in values.items() if value},
    }


def _digest(value: object) -> str | None:
    """Return a digest of a value, or why there is none, if its text does not do."""
    try:
        return digest_of_value(value)
    except IncomparableError as error:
        return f"{_NO_DIGEST} ({error})"


def _difference(
    net: InfluenceNet,
    manifest: dict[str, Any],
    about: dict[str, Any],
    data: TrainingData,
) -> str | None:
    """Return how a run in a folder differs from the one to be recorded."""
    recorded = {k: _current(v) for k, v in manifest["about"].items()}
    # A parameter that the run does not tell had its default at that time.
    recorded = {**_defaults(net), **recorded}
    if is_fingerprint(recorded.get("data", ""), data):
        recorded["data"] = about["data"]
    # Early manifests have only the texts.
    ours, theirs = about["values"], recorded.get("values", about["values"])
    other = _other({**about, "values": None}, {**recorded, "values": None})
    other += [k for k in _other(ours, dict(theirs)) if k not in other]
    # Only None leaves the seed open.
    if net.random_state is not None and net.seed_ != manifest["run"]["seed"]:
        other.append("`random_state`")
    if other:
        return f"other {', '.join(other)}"
    if unclear := [k for k, value in ours.items() if value.startswith(_NO_DIGEST)]:
        raise IncomparableError(f"{unclear[0]} {ours[unclear[0]]}")
    return None


def _other(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Return the names of what differs."""
    return [k for k in {**ours, **theirs} if ours.get(k) != theirs.get(k)]


def _defaults(net: InfluenceNet) -> dict[str, str]:
    parameters = inspect.signature(type(net).__init__).parameters.values()
    own = {p.name: p.default for p in parameters if p.default is not p.empty}
    defaults = {**earlier_module_defaults(net.module), **own}
    return {f"`{k}`": text_of(v) for k, v in defaults.items() if k not in _FREE}


def _current(value: Any) -> Any:
    """Return what a manifest says in current names."""
    if isinstance(value, dict):
        return {k: _current(v) for k, v in value.items()}
    return with_current_names(value) if isinstance(value, str) else value


def _obstacle(net: InfluenceNet, folder: Path) -> str | None:
    """Return why a run cannot be resumed with the same bits, if it cannot."""
    run = Trajectory.load(folder)
    if run.n_epochs > net.max_epochs:
        return f"it has {run.n_epochs} epochs, more than `max_epochs`"
    if any(record.data for record in run.records):
        return "partial_fit added to it"
    if run.flaws or run.anchors:
        return "something other than the optimizer changed its states"
    if name := _looks_within_epochs(net):
        return f"{name} looks at every batch"
    if run.first_recorded_step and _looks_at_epoch_ends(net):
        return "states that were dropped are looked at when epochs end"
    return None


def _looks_within_epochs(net: NeuralNet) -> str | None:
    """Return which callback needs to see every step as it is taken."""
    seen = [(net, type(net), NeuralNet)]
    for _, callback in net.callbacks_:
        cached = isinstance(callback, EpochScoring) and not callback.on_train
        if not isinstance(callback, _BLIND) and not cached:
            seen.append((callback, type(callback), Callback))
    for _, kind, base in seen:
        if any(getattr(kind, k) is not getattr(base, k) for k in _WITHIN_EPOCHS):
            return kind.__name__
    return None


def _looks_at_epoch_ends(net: NeuralNet) -> bool:
    return net.train_split is not None or not all(
        isinstance(callback, (*_BLIND, EpochScoring)) for _, callback in net.callbacks_
    )


class ResumedRun(TrainingRun):
    """A call of ``fit`` that does not repeat the steps that are recorded.

    skorch's loop goes through them with the recorded losses, so that its history,
    callbacks and learning rates are as they were; the model gets the recorded states
    where a callback looks at it, and the last one.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        assert self.trajectory is not None
        self.n_recorded = self.trajectory.n_steps

    def begin_epoch(self) -> int:
        """Count a new epoch and return the seed of its batches."""
        seed = super().begin_epoch()
        self.epoch = self.n_epochs
        return seed

    def repeat(self, net: NeuralNet) -> dict[str, Any] | None:
        """Return the outcome of a batch whose step is already recorded."""
        trajectory, step = self.trajectory, self.n_steps
        if step >= self.n_recorded or trajectory is None:
            return None
        if step == 0 and not self.n_taken:
            begin_again(net, trajectory)
        record = trajectory.records[step]
        self.take_batch()
        self._compare_with(record, net)
        assert record.loss is not None
        loss = (record.losses or (record.loss,))[self.n_taken]
        self.n_taken += 1
        if self.completes:
            self.n_taken = 0
            self._pass(net, trajectory)
        return {"loss": torch.tensor(loss, dtype=torch.float64), "y_pred": None}

    def _compare_with(self, record: StepRecord, net: NeuralNet) -> None:
        """Refuse a batch that is not the next one of the recorded step."""
        batches, now = record.micro_batches(), hyperparameters(net.optimizer_, record)
        same_rows = len(batches) == self.n_in_step and torch.equal(
            self.rows, batches[self.n_taken].rows
        )
        # What an optimizer uses are its settings at the step's last batch.
        same = not self.completes or now == record.hyperparameters
        if not (same_rows and same):
            what = "learning rate or another setting" if same_rows else "batch"
            assert self.trajectory is not None
            what = f"step {record.step} has another {what}"
            raise not_resumable(self.trajectory, what)

    def _pass(self, net: NeuralNet, trajectory: Trajectory) -> None:
        """Pass over a recorded step."""
        self.n_steps += 1
        epoch_ends = self.n_left == 0 and _looks_at_epoch_ends(net)
        if epoch_ends or self.n_steps == self.n_recorded:
            state = replay_of(net, trajectory).state(self.n_steps)
            live_state(net, trajectory).write(state)


def begin_again(net: NeuralNet, trajectory: Trajectory) -> None:
    """Compare the model with the recorded one, and give the optimizer its state.

    Parameters
    ----------
    net : NeuralNet
        The net, as at the start of its training.
    trajectory : Trajectory
        The run to be resumed.

    Raises
    ------
    IrreproducibleStepError
        If the net does not begin as the run did.
    """
    if trajectory.first_recorded_step == 0:
        start = trajectory.state(0).parameters
        if not live_state(net, trajectory).holds(start):
            raise not_resumable(trajectory, "the initial parameters differ")
    # An optimizer creates its state in a step; the values are replaced.
    for group in net.optimizer_.param_groups:
        for parameter in group["params"]:
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
    net.optimizer_.step()
    clear_gradients(net.optimizer_)


def live_state(net: NeuralNet, trajectory: Trajectory) -> LiveState:
    """Return the state of a net, in which a run's states can be put."""
    return LiveState(
        net.optimizer_,
        trajectory.addresses,
        net_buffers(net),
        moment_names(net.optimizer_),
        trajectory.untrained,
    )


def not_resumable(trajectory: Trajectory, what: str) -> IrreproducibleStepError:
    """Return the error for a run that was another one when it was begun."""
    return IrreproducibleStepError(
        f"The run in {str(trajectory.folder)!r} cannot be resumed: {what}. The module, "
        "the sampler or a callback is not what it was; use resume=False to begin anew."
    )
