"""Recording while skorch trains: batches, seeds, states, and what the optimizer saw."""

import math
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from skorch.callbacks import Callback, GradientNormClipping
from skorch.dataset import unpack_data
from skorch.net import NeuralNet
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

from .._typing import Hyperparameters
from ..exceptions import DivergenceWarning
from ..training import (
    Clipping,
    LiveState,
    State,
    batch_coefficients,
    derive_seed,
    moment_names,
    observe_clipping,
    seeded,
)
from ..trajectory import StepRecord, Trajectory
from ._data import ArrayDataset, TrainingData, as_is, rows_of


class RecordingBatchSampler:
    """Hands out a sampler's batches, drawn from the run's own seed, and notes them.

    Parameters
    ----------
    batches : iterable of sequence of int
        The batch sampler.
    rows : Tensor of int64 or None
        The rows of the data that the sampler's indices stand for; None for the same.
    run : TrainingRun
        Is told of every epoch and batch.
    """

    def __init__(self, batches: Any, rows: Tensor | None, run: "TrainingRun") -> None:
        self.batches = batches
        self.rows = rows
        self.run = run

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        with seeded(self.run.begin_epoch(), torch.device("cpu")):
            # Samplers draw on the global generator when they are iterated: all at once.
            drawn = [list(batch) for batch in self.batches]
        for batch in drawn:
            index = torch.tensor(batch, dtype=torch.int64)
            self.run.batches.append(index if self.rows is None else self.rows[index])
            yield batch


class TrainingRun:
    """One call of ``fit`` or ``partial_fit`` while it trains.

    Parameters
    ----------
    data : TrainingData
        What is trained on.
    number : int
        Which call this is of those that trained the model.
    seed : int
        Seed of the run.
    n_steps, n_epochs : int
        How many steps and epochs earlier calls have taken.
    trajectory : Trajectory or None
        Where the steps are recorded; None to record nothing.
    """

    def __init__(
        self,
        data: TrainingData,
        number: int,
        seed: int,
        n_steps: int,
        n_epochs: int,
        trajectory: Trajectory | None,
    ) -> None:
        self.data = data
        self.number = number
        self.seed = seed
        self.n_steps = n_steps
        self.n_epochs = n_epochs
        self.trajectory = trajectory
        self.batches: deque[Tensor] = deque()
        self.rows = torch.empty(0, dtype=torch.int64)
        self._live: LiveState | None = None
        self._before: State | None = None
        self._raw: list[Tensor] | None = None
        self._known_clipping: Clipping | None = None

    def begin_epoch(self) -> int:
        """Count a new epoch and return the seed of its batches."""
        self.n_epochs += 1
        self.batches.clear()
        return derive_seed(self.seed, "sampling", self.n_epochs)

    def weights(self) -> Tensor | None:
        """Return the c_i of the batch in hand."""
        return None if self.data.weights is None else self.data.weights[self.rows]

    def begin_step(self, net: NeuralNet) -> int:
        """Take the next batch in hand, note the state, and return the step's seed."""
        self.rows = self.batches.popleft()
        if self.trajectory is not None:
            self._before = self._state_before(net, self.trajectory)
        return derive_seed(self.seed, "step", self.n_steps)

    def _state_before(self, net: NeuralNet, trajectory: Trajectory) -> State:
        groups = net.optimizer_.param_groups
        known = set(trajectory.addresses)
        trajectory.addresses += [
            (g, k)
            for g, group in enumerate(groups)
            for k, parameter in enumerate(group["params"])
            if parameter.requires_grad and (g, k) not in known
        ]
        live = self._live
        if live is None or len(live.addresses) != len(trajectory.addresses):
            names = moment_names(net.optimizer_)
            live = LiveState(
                net.optimizer_, trajectory.addresses, net_buffers(net), names
            )
            fresh = self._live is None
            self._live = live
            state = live.read()
            if fresh and trajectory.final is not None:
                _note_other_state(trajectory, state)
            return state
        after = trajectory.final
        if after is not None and live.holds(after.parameters):
            return after
        trajectory.flaws[self.n_steps] = (
            f"the parameters were changed between steps {self.n_steps - 1} and "
            f"{self.n_steps} by something other than the optimizer, such as a callback"
        )
        return live.read()

    def see_gradients(self, net: NeuralNet) -> None:
        """Note the gradients before the callbacks get to change them."""
        if self._live is not None and _callbacks_touch_gradients(net):
            self._raw = [
                torch.zeros_like(p) if p.grad is None else p.grad.clone()
                for p in self._live.parameters
            ]

    def end_step(self, net: NeuralNet, loss: float) -> None:
        """Record the step just taken."""
        step, self.n_steps = self.n_steps, self.n_steps + 1
        live, trajectory, before = self._live, self.trajectory, self._before
        if live is None or trajectory is None or before is None:
            return
        active = tuple(parameter.grad is not None for parameter in live.parameters)
        last = trajectory.records[-1].hyperparameters if trajectory.records else ()
        record = StepRecord(
            step,
            self.n_epochs,
            self.number,
            self.rows + self.data.offset,
            derive_seed(self.seed, "step", step),
            _hyperparameters(net.optimizer_, last),
            None if all(active) else active,
            self._clipping(net, live, trajectory, step),
        )
        trajectory.append(record, before, live.read())
        samples = self.data.offset + len(self.data)
        trajectory.n_samples = max(trajectory.n_samples, samples)
        if trajectory.diverged_at is None and not math.isfinite(loss):
            trajectory.diverged_at = step

    def _clipping(
        self, net: NeuralNet, live: LiveState, trajectory: Trajectory, step: int
    ) -> Clipping | None:
        raw, self._raw = self._raw, None
        if raw is None:
            return None
        seen = [
            torch.zeros_like(p) if p.grad is None else p.grad for p in live.parameters
        ]
        known = self._known_clipping or _declared_clipping(net)
        if known is None and all(map(torch.equal, raw, seen)):
            return None
        self._known_clipping = observe_clipping(raw, seen, known)
        if self._known_clipping is None and not all(map(torch.equal, raw, seen)):
            trajectory.flaws[step + 1] = (
                f"in step {step} a callback changed the gradients in a way that is "
                "neither clipping by norm nor by value"
            )
        return self._known_clipping

    def end(self, net: NeuralNet) -> None:
        """Close the run: end it where a callback went back to, look for divergence."""
        trajectory = self.trajectory
        if trajectory is None or trajectory.final is None or self._live is None:
            return
        if not self._live.holds(trajectory.final.parameters):
            self._go_back(trajectory, self._live.read().parameters)
        if trajectory.diverged_at is None and not trajectory.final.parameters.isfinite().all():
            trajectory.diverged_at = trajectory.n_steps - 1
        if trajectory.diverged_at is not None:
            warnings.warn(
                "The training run diverged: the loss or a parameter is not finite "
                f"from step {trajectory.diverged_at} on. Lower `lr` or scale X and y.",
                DivergenceWarning,
                stacklevel=4,
            )

    def _go_back(self, trajectory: Trajectory, parameters: Tensor) -> None:
        for number in range(trajectory.n_steps - 1, trajectory.first_recorded_step - 1, -1):
            if torch.equal(trajectory.state(number).parameters, parameters):
                trajectory.truncate(number)
                self.n_steps, self.n_epochs = number, trajectory.n_epochs
                return
        trajectory.flaws[trajectory.n_steps] = (
            "after the last step the parameters were changed to values that no "
            "recorded step had"
        )


class RecordingMixin(NeuralNet):  # type: ignore[misc]
    """Makes a skorch net train from its own seed and record every step."""

    run_: TrainingRun | None = None

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """Return the data as a dataset; in training always the same one."""
        run = self.run_
        if run is not None and X is run.data.X and y is run.data.y:
            return run.data.dataset
        return super().get_dataset(X, y)

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Return the loader; in training one whose batches are recorded."""
        kwargs = self.get_params_for("iterator_train" if training else "iterator_valid")
        iterator = self.iterator_train if training else self.iterator_valid
        kwargs.setdefault("batch_size", self.batch_size)
        if kwargs["batch_size"] == -1:
            kwargs["batch_size"] = len(dataset)
        if isinstance(_base(dataset), ArrayDataset) and iterator is DataLoader:
            kwargs.setdefault("collate_fn", as_is)
        if training and self.run_ is not None:
            kwargs = self._recording(dataset, kwargs, self.run_)
        return iterator(dataset, **kwargs)

    def _fetch(self, dataset: Any, rows: Tensor) -> tuple[Any, Any]:
        """Return the inputs and targets of some rows, as the training loader would."""
        kwargs = self.get_params_for("iterator_train")
        plain = self.iterator_train is DataLoader and "collate_fn" not in kwargs
        if isinstance(dataset, ArrayDataset) and plain:
            return dataset.__getitems__(rows)
        for option in ("batch_size", "shuffle", "sampler", "drop_last", "num_workers"):
            kwargs.pop(option, None)
        kwargs["batch_sampler"] = [rows.tolist()]
        (batch,) = self.iterator_train(dataset, **kwargs)
        inputs, targets = unpack_data(batch)
        return inputs, targets

    def _recording(
        self, dataset: Any, kwargs: dict[str, Any], run: TrainingRun
    ) -> dict[str, Any]:
        """Put a recording batch sampler in the place of the sampling options."""
        batches = kwargs.pop("batch_sampler", None)
        sampler = kwargs.pop("sampler", None)
        shuffle = kwargs.pop("shuffle", self.shuffle if sampler is None else False)
        size, drop_last = kwargs.pop("batch_size"), kwargs.pop("drop_last", False)
        if sampler is None:
            sampler = (RandomSampler if shuffle else SequentialSampler)(dataset)
        if batches is None:
            batches = BatchSampler(sampler, size, drop_last)
        rows = rows_of(dataset, run.data.dataset)
        # The loader draws a seed for its workers: not from the global generator.
        kwargs.setdefault("generator", torch.Generator().manual_seed(run.seed))
        return {**kwargs, "batch_sampler": RecordingBatchSampler(batches, rows, run)}

    def train_step(self, batch: Any, **fit_params: Any) -> Any:
        """Take one training step under its own seed, and record it."""
        run = self.run_
        if run is None:
            return super().train_step(batch, **fit_params)
        with seeded(run.begin_step(self), torch.device(self.device)):
            step = super().train_step(batch, **fit_params)
        run.end_step(self, float(step["loss"]))
        return step

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Compute the batch loss from per-sample losses, and its gradient."""
        run = self.run_
        self._set_training(True)
        inputs, targets = unpack_data(batch)
        outputs = self.infer(inputs, **fit_params)
        losses = self.get_losses(outputs, targets, X=inputs, training=True)
        coefficients = batch_coefficients(run and run.weights(), losses)
        losses.backward(coefficients)
        if run is not None:
            run.see_gradients(self)
        return {"loss": losses.detach() @ coefficients, "y_pred": outputs}


def net_modules(net: NeuralNet) -> list[nn.Module]:
    """Return the net's modules and criteria."""
    parts = [getattr(net, f"{name}_") for name in net._modules + net._criteria]
    return [part for part in parts if isinstance(part, nn.Module)]


def net_buffers(net: NeuralNet) -> list[Tensor]:
    """Return the buffers of the net's modules."""
    return [buffer for module in net_modules(net) for buffer in module.buffers()]


def _base(dataset: Any) -> Any:
    while isinstance(dataset, torch.utils.data.Subset):
        dataset = dataset.dataset
    return dataset


def _note_other_state(trajectory: Trajectory, state: State) -> None:
    """Note a flaw where a run goes on from another state than the last one ended in."""
    final = trajectory.final
    same = (
        final is not None
        and torch.equal(final.parameters, state.parameters)
        and final.scalars == state.scalars
        and final.moments.keys() == state.moments.keys()
        and all(torch.equal(final.moments[k], state.moments[k]) for k in final.moments)
    )
    if not same:
        trajectory.flaws[trajectory.n_steps] = (
            "training went on from other parameters, or another optimizer state, than "
            f"step {trajectory.n_steps - 1} had led to"
        )


def _callbacks_touch_gradients(net: NeuralNet) -> bool:
    own = type(net).on_grad_computed is not NeuralNet.on_grad_computed
    return own or any(
        type(callback).on_grad_computed is not Callback.on_grad_computed
        for _, callback in net.callbacks_
    )


def _declared_clipping(net: NeuralNet) -> Clipping | None:
    for _, callback in net.callbacks_:
        bound = getattr(callback, "gradient_clip_value", None)
        if isinstance(callback, GradientNormClipping) and bound is not None:
            order = float(callback.gradient_clip_norm_type)
            return Clipping("norm", float(bound), order)
    return None


def _hyperparameters(
    optimizer: torch.optim.Optimizer, last: Sequence[Hyperparameters]
) -> tuple[Hyperparameters, ...]:
    """Return the groups' hyper-parameters, the last step's own objects if the same."""
    now = tuple(
        {
            name: value.item() if isinstance(value, Tensor) else value
            for name, value in group.items()
            if name != "params"
        }
        for group in optimizer.param_groups
    )
    return tuple(last) if now == tuple(last) else now
