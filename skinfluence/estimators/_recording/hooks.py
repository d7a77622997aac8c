"""Recording while skorch trains: seeded steps, and a record of their batches."""

import inspect
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial
from numbers import Integral
from typing import Any, Self

import torch
from skorch.dataset import unpack_data
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.utils.data import BatchSampler, DataLoader

from ..._values import check_takes
from ...training import (
    CompiledFunctions,
    CompiledGradient,
    all_seeded,
    batch_coefficients,
    clear_gradients,
    derive_seed,
    descend,
    seeded,
)
from .._array_dataset import ArrayDataset, collate_whole
from .._losses import movable
from .._net import InfluenceNet, net_modules
from .._seeding import SeededCollation, SeededItems, base_of, seeded_keys
from .._training_data import TrainingData, may_draw
from .._typing import MapDataset
from .batches import RecordingBatchSampler, RowBatches, WholeBatches, rows_of
from .budget import plan_checkpoints
from .first_outputs import first_outputs
from .training_run import TrainingRun

# Options of a loader that do not change the content of a batch.
_LOADING = set(inspect.signature(DataLoader).parameters) - {"collate_fn"}

# Those that choose or order the rows.
_SAMPLING = {"shuffle", "sampler", "batch_sampler", "drop_last"}

# Events of each batch.
_PER_BATCH = {"on_batch_begin", "on_grad_computed", "on_batch_end"}


class RecordingMixin(InfluenceNet):
    """skorch's hooks: a loss for each sample, seeded steps, and their record."""

    run_: TrainingRun | None = None
    compiled_functions_: CompiledFunctions | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Compiled code stays where it was compiled.
        state: dict[str, Any] = super().__getstate__()
        return {k: v for k, v in state.items() if k != "compiled_functions_"}

    def initialize_module(self) -> Self:
        """Make the module; a lazy one takes its sizes from the first rows."""
        super().initialize_module()
        tensors = (*self.module_.parameters(), *self.module_.buffers())
        if self.run_ is not None and any(map(is_lazy, tensors)):
            self.module_.to(self.device).eval()
            first_outputs(self, self.run_.data)
        return self

    def get_dataset(self, X: object, y: object = None) -> Any:
        """Return the data as a dataset; during a fit always the same one."""
        run = self.run_
        if run is not None and X is run.data.X and y is run.data.y:
            return run.data.dataset
        make = partial(super().get_dataset, X, y)
        return self._made("dataset", make, self.get_params_for("dataset"))

    def get_split_datasets(self, X: object, y: object = None, **fit_params: Any) -> Any:
        """Return training and validation data; during a fit the split is seeded."""
        if self.train_split is not None:
            taken = ("dataset",) if y is None else ("dataset", "y")
            check_takes("train_split", self.train_split, *taken, **fit_params)
        # The epochs count from 1.
        drawing = (
            nullcontext()
            if self.run_ is None or not self.train_split
            else all_seeded(derive_seed(self.run_.seed, "sampling", 0))
        )
        with drawing:
            split = super().get_split_datasets(X, y, **fit_params)
        two = isinstance(split, (tuple, list)) and len(split) == 2
        if not two or not all(x is None or hasattr(x, "__len__") for x in split):
            raise TypeError(
                "`train_split` must return two datasets, one to train on and one (or "
                f"None) to validate on, got {split!r:.200}."
            )
        return split

    def get_iterator(
        self, dataset: MapDataset, training: bool = False
    ) -> Iterable[Any]:
        """Return the loader; during a fit it records the training batches.

        What is not for training is loaded row by row, in order: every answer has a
        place for each row.
        """
        kwargs = self.get_params_for("iterator_train" if training else "iterator_valid")
        iterator = self.iterator_train if training else self.iterator_valid
        if not training:
            kwargs = {k: v for k, v in kwargs.items() if k not in _SAMPLING}
        kwargs.setdefault("batch_size", self.batch_size)
        if kwargs["batch_size"] == -1:
            kwargs["batch_size"] = len(dataset)
        elif isinstance(kwargs["batch_size"], Integral):
            # torch takes Python's own integers only.
            kwargs["batch_size"] = int(kwargs["batch_size"])
        if isinstance(base_of(dataset), ArrayDataset) and iterator is DataLoader:
            kwargs.setdefault("collate_fn", collate_whole)
        # A loader draws a seed for its workers, by default from the global generator.
        if training and self.run_ is not None:
            generator = torch.Generator().manual_seed(self.run_.seed)
            kwargs = self._recording(dataset, kwargs, self.run_)
            plain = kwargs.keys() == {"batch_sampler", "collate_fn"}
            whole = kwargs.get("collate_fn") is collate_whole
            if type(dataset) is ArrayDataset and plain and whole:
                self.run_.loads = False
                return WholeBatches(dataset, kwargs["batch_sampler"])
            kwargs.setdefault("generator", generator)
            if self.run_.data.draws:
                dataset, kwargs = SeededItems(dataset), _seeding_collation(kwargs)
        elif iterator is DataLoader:
            kwargs.setdefault("generator", torch.Generator())
        return self._loader(training, dataset, kwargs)

    def _loader(
        self, training: bool, dataset: MapDataset, kwargs: dict[str, Any]
    ) -> Iterable[Any]:
        name = "iterator_train" if training else "iterator_valid"
        make = partial(getattr(self, name), dataset, **kwargs)
        loader: Iterable[Any] = self._made(name, make, self.get_params_for(name))
        return loader

    def _training_data(
        self,
        X: Any,
        y: Any,
        weights: Tensor | None = None,
        fit_params: dict[str, Any] | None = None,
    ) -> TrainingData:
        """Return what is to be trained on, with its dataset, not numbered yet."""
        dataset = self.get_dataset(X, y)
        collates = "collate_fn" in self.get_params_for("iterator_train")
        draws = collates or may_draw(dataset)
        return TrainingData(X, y, dataset, weights, fit_params or {}, draws=draws)

    def _fetcher(self, data: TrainingData) -> Callable[..., tuple[Any, Any]]:
        """Return a function that fetches inputs and targets as the loader does.

        Parameters
        ----------
        data : TrainingData
            The training data.

        Returns
        -------
        callable
            ``fetch(rows, item_seed=None) -> (inputs, targets)`` for an int64 tensor of
            rows, and the seed of what the Dataset draws.
        """
        dataset: Any = data.dataset
        if self._fetches_rows(data):
            return lambda rows, _=None: dataset.batch(rows)
        kwargs = self.get_params_for("iterator_train")
        options = {k: v for k, v in kwargs.items() if k not in _LOADING}
        if data.draws:
            dataset, options = SeededItems(dataset), _seeding_collation(options)

        def fetch(rows: Tensor, item_seed: int | None = None) -> tuple[Any, Any]:
            keys: list[Any] = rows.tolist()
            if data.draws:
                keys = seeded_keys(keys, rows, item_seed or 0)
            own = {"batch_sampler": [keys], "generator": torch.Generator()}
            (batch,) = self._loader(True, dataset, {**own, **options})
            inputs, targets = unpack_data(batch)
            return inputs, targets

        return fetch

    def _fetches_rows(self, data: TrainingData) -> bool:
        """Whether a batch's inputs and targets are nothing but their rows of arrays."""
        kwargs = self.get_params_for("iterator_train")
        plain = self.iterator_train is DataLoader and "collate_fn" not in kwargs
        return plain and isinstance(data.dataset, ArrayDataset)

    def _recording(
        self, dataset: MapDataset, kwargs: dict[str, Any], run: TrainingRun
    ) -> dict[str, Any]:
        """Replace the sampling options by a recording batch sampler."""
        batches = kwargs.pop("batch_sampler", None)
        sampler = kwargs.pop("sampler", None)
        shuffle = kwargs.pop("shuffle", self.shuffle if sampler is None else False)
        size, drop_last = kwargs.pop("batch_size"), kwargs.pop("drop_last", False)
        if batches is None and sampler is None:
            batches = RowBatches(dataset, shuffle, size, drop_last)
        elif batches is None:
            batches = BatchSampler(sampler, size, drop_last)
        if run.trajectory is not None:
            plan_checkpoints(run.trajectory, self, batches)
        rows = rows_of(dataset, run.data.dataset)
        return {**kwargs, "batch_sampler": RecordingBatchSampler(batches, rows, run)}

    def train_step(self, batch: object, **fit_params: Any) -> Any:
        """Train on one batch under its own seed, and record the step if it ends it."""
        run = self.run_
        if run is None:
            return super().train_step(batch, **fit_params)
        if (recorded := run.repeat(self)) is not None:
            return recorded
        seed = run.begin_batch(self, batch)
        with seeded(seed, torch.device(self.device)) as draws:
            if run.completes:
                step = super().train_step(batch, **fit_params)
            else:
                self._zero_grad_optimizer()
                step = self.train_step_single(batch, **fit_params)
        run.end_batch(self, float(step["loss"]), draws.any)
        return step

    def _zero_grad_optimizer(self, set_to_none: bool | None = None) -> None:
        """Begin with no gradients; those of further batches of a step are added."""
        if self.run_ is None:
            super()._zero_grad_optimizer(set_to_none)
        elif not self.run_.n_taken:
            for name in self._optimizers:
                clear_gradients(getattr(self, f"{name}_"))

    def train_step_single(self, batch: object, **fit_params: Any) -> dict[str, Any]:
        """Compute the batch loss from per-sample losses, and its gradient."""
        run = self.run_
        # Setting the mode again takes as long as a small layer.
        if run is None or not all(m.training for m in run.modules(self)):
            self._set_training(True)
        inputs, targets = unpack_data(batch)
        weights = None if run is None else run.weights()
        if run is None or not self.compile or run.share != 1.0:
            outputs = self.infer(inputs, **fit_params)
            losses = self._step_losses(outputs, targets, (inputs, fit_params))
            coefficients = batch_coefficients(weights, losses)
            loss = losses.detach() @ coefficients
            share = 1.0 if run is None else run.share
            descend(losses, coefficients if share == 1.0 else share * coefficients)
        else:
            arguments = (inputs, fit_params), targets, weights
            step = self._gradient(run)(arguments, len(run.rows), run.largest)
            loss, outputs = step.loss, step.outputs
            run.compiled_size = step.compiled_size
        return _movable({"loss": loss, "y_pred": outputs})

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call the callbacks; what they do to a step's gradients is recorded."""
        run = self.run_
        if run is None or method_name not in _PER_BATCH:
            super().notify(method_name, **cb_kwargs)
            return
        computed = method_name == "on_grad_computed"
        if computed:
            run.before_callbacks(self)
        # As skorch does, but nobody is called who does nothing.
        for each in run.listeners(self, method_name):
            getattr(each, method_name)(self, **cb_kwargs)
        if computed:
            run.after_callbacks(self)

    def _gradient(self, run: TrainingRun) -> CompiledGradient:
        """Return the compiled gradient of the run's batches."""
        if run.gradient is None:
            compiled = self._compiled_functions()
            modules = net_modules(self)
            run.gradient = CompiledGradient(
                modules, self._outputs, self._step_losses, compiled
            )
        return run.gradient

    def _compiled_functions(self) -> CompiledFunctions:
        """Return the functions that were compiled since the last call of fit."""
        if self.compiled_functions_ is None:
            self.compiled_functions_ = CompiledFunctions()
        return self.compiled_functions_

    def validation_step(self, batch: object, **fit_params: Any) -> dict[str, Any]:
        """Compute the outputs and the mean loss of a validation batch."""
        return _movable(super().validation_step(batch, **fit_params))


def _movable(step: dict[str, Any]) -> dict[str, Any]:
    """Leave nothing in a step but what skorch's cache can move to a device."""
    return {**step, "y_pred": movable(step["y_pred"])}


def _seeding_collation(options: dict[str, Any]) -> dict[str, Any]:
    """Return a loader's options with its `collate_fn` seeded, if it is given one."""
    collate = options.get("collate_fn")
    if collate is None:
        return options
    return {**options, "collate_fn": SeededCollation(collate)}
