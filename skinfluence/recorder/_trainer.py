"""Recording of a training by the Trainer of Hugging Face's transformers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from .._summary import Summarized
from ..estimators import outputs_of
from ..exceptions import NotRecordedError
from ..training import all_seeded
from ._models import Criterion, RecordedClassifier, RecordedRegressor
from ._recorder import Batch, Recorder

# So many samples' losses tell which criterion the Trainer's is.
_N_COMPARED = 4

# Relative: a Trainer's loss is rounded to single precision.
_TOLERANCE = 1e-4

# Of TrainingArguments: what wraps the module, or its forward, where no copy of it is
# wrapped, or noise that ends with the training.
_UNRECORDED = {
    "fp16": "load the model in bfloat16 instead (torch_dtype)",
    "bf16": "load the model in bfloat16 instead (torch_dtype)",
    "torch_compile": "leave it out",
    "neftune_noise_alpha": "leave it out",
    "deepspeed": "train in one process",
    "fsdp": "train in one process",
    "auto_find_batch_size": "set the batch size",
}


def token_losses(outputs: object, labels: Tensor) -> Tensor:
    """Return each sample's mean cross-entropy over its labelled tokens.

    Parameters
    ----------
    outputs : object
        What a module returned: the logits are of shape (batch, length, classes).
    labels : Tensor of shape (batch, length), int64
        Each token's class; -100 for a token without a label.

    Returns
    -------
    Tensor of shape (batch,)
        The losses; 0 for a sample without a label.

    Examples
    --------
    >>> import torch
    >>> from skinfluence.recorder import token_losses
    >>> logits = torch.zeros(2, 3, 4)
    >>> token_losses(logits, torch.tensor([[1, 2, -100], [-100, -100, -100]]))
    tensor([1.3863, 0.0000])
    """
    logits = outputs_of(outputs)
    losses = nn.functional.cross_entropy(logits.mT, labels, reduction="none")
    counts = (labels != -100).sum(1).clamp(min=1)
    return losses.sum(1) / counts


def next_token_losses(outputs: object, labels: Tensor) -> Tensor:
    """Return each sample's mean cross-entropy over the tokens that are predicted.

    Parameters
    ----------
    outputs : object
        What a module returned: the logits are of shape (batch, length, tokens).
    labels : Tensor of shape (batch, length), int64
        The tokens themselves; -100 for those that are not to be predicted.

    Returns
    -------
    Tensor of shape (batch,)
        The losses; 0 for a sample without a label.

    Examples
    --------
    >>> import torch
    >>> from skinfluence.recorder import next_token_losses
    >>> next_token_losses(torch.zeros(1, 3, 4), torch.tensor([[1, 2, 3]]))
    tensor([1.3863])
    """
    return token_losses(outputs_of(outputs)[:, :-1], labels[:, 1:])


class TrainerRecorder(Summarized):
    """Records what the Trainer of transformers trains.

    Make it before ``trainer.train()``, which then takes the same batches in the same
    order, with the same optimizer, schedule, accumulation and clipping, and differs in
    the loss alone (see Notes).

    Parameters
    ----------
    trainer : transformers.Trainer
        The Trainer, or one of a class derived from it, such as TRL's SFTTrainer; for
        one process, without mixed precision.
    criterion : torch.nn.Module class or instance, or callable, optional
        Gives one loss for each sample, see :class:`Recorder`. By default the one of
        CrossEntropyLoss, BCEWithLogitsLoss, MSELoss, `token_losses` and
        `next_token_losses` that is the Trainer's own loss of a single sample: it is
        compared when the training begins.
    **options : dict
        Options of :class:`Recorder`, such as ``record``, ``trajectory_dir`` and
        ``forward``.

    Raises
    ------
    TypeError, ValueError
        If the Trainer, or one of its arguments, is not as described.

    Notes
    -----
    The loss of a batch is the mean of its samples' losses. Of token labels a sample's
    loss is the mean over *its* labelled tokens, so that each sample has a loss of its
    own; the Trainer's is the mean over all labelled tokens of a step, where long
    samples count more. Where gradients are accumulated over k batches, each counts
    1/k; the Trainer adds up the losses of some models' batches, which makes its steps
    k times as long.

    Examples
    --------
    >>> from skinfluence.recorder import TrainerRecorder
    >>> recorder = TrainerRecorder(trainer)  # doctest: +SKIP
    >>> trainer.train()  # doctest: +SKIP
    >>> model = recorder.finish()  # doctest: +SKIP
    >>> scores = model.influence(validation_set)  # doctest: +SKIP
    """

    def __init__(
        self, trainer: Any, criterion: Criterion | None = None, **options: Any
    ) -> None:
        _check(trainer)
        self._trainer, self._criterion = trainer, criterion
        self._options = {
            "random_state": trainer.args.seed,
            "max_epochs": max(1, ceil(trainer.args.num_train_epochs)),
            **options,
        }
        self._recorder: Recorder | None = None
        self._own_loader = trainer.get_train_dataloader
        trainer.get_train_dataloader = self._loader
        trainer.training_step = self._training_step

    def finish(self) -> RecordedClassifier | RecordedRegressor:
        """Close the run.

        Returns
        -------
        RecordedClassifier or RecordedRegressor
            The model. Validation data is given to it as the training data was to the
            Trainer: as a Dataset of such items.

        Raises
        ------
        NotRecordedError
            If nothing was trained.
        """
        for name in ("get_train_dataloader", "training_step"):
            self._trainer.__dict__.pop(name, None)
        if self._recorder is None:
            raise NotRecordedError(
                "A run must have at least one step, got 0: call `trainer.train()` "
                "before `finish`."
            )
        return self._recorder.finish()

    def _facts(self) -> Mapping[str, str]:
        return {} if self._recorder is None else self._recorder._facts()

    def _loader(self) -> "_Loader":
        return _Loader(self._own_loader(), self._batches)

    def _batches(self, loader: DataLoader[Any]) -> Iterator[Batch]:
        """Iterate over an epoch, recorded, of what a loader of the Trainer's loads."""
        n_steps = 0 if self._recorder is None else self._recorder.n_steps
        if self._trainer.state.global_step != n_steps:
            raise RuntimeError(
                "A recorded training must be one call of `trainer.train()` from its "
                f"first step on, but it is at step {self._trainer.state.global_step} "
                f"where the record has {n_steps}. Do not resume from a checkpoint, and "
                "make another TrainerRecorder for another training."
            )
        if self._recorder is None:
            self._recorder = self._begin(loader)
        yield from self._recorder.batches(
            self._trainer.args.train_batch_size,
            batch_sampler=loader.batch_sampler,
            num_workers=loader.num_workers,
        )

    def _begin(self, loader: DataLoader[Any]) -> Recorder:
        trainer, options = self._trainer, self._options
        dataset: Any = loader.dataset
        collate = LabelledInputs(loader.collate_fn)
        criterion = self._criterion
        if criterion is None:
            samples = [collate([dataset[k]]) for k in range(len(dataset))[:_N_COMPARED]]
            criterion, n_outputs = _criterion_of(trainer, samples)
            if criterion is nn.CrossEntropyLoss:
                options = {"n_classes": n_outputs, **options}
        # Accelerate wraps the optimizer.
        optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
        return Recorder(
            trainer.model,
            optimizer,
            criterion,
            dataset,
            collate_fn=collate,
            **options,
        )

    def _training_step(
        self, model: nn.Module, inputs: "_Inputs", num_items_in_batch: object = None
    ) -> Tensor:
        assert self._recorder is not None
        model.train()
        share = self._trainer.current_gradient_accumulation_steps
        loss = self._recorder.loss(inputs.batch) / share
        self._trainer.accelerator.backward(loss)
        return loss.detach()


class _Loader:
    """What the Trainer iterates over: the batches of its own loader, recorded."""

    def __init__(
        self,
        loader: DataLoader[Any],
        batches: Callable[[DataLoader[Any]], Iterator[Batch]],
    ) -> None:
        self.loader, self.dataset, self._batches = loader, loader.dataset, batches

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator["_Inputs"]:
        return map(_Inputs, self._batches(self.loader))


class _Inputs(dict[str, Any]):
    """A batch as the Trainer knows it, which counts its tokens."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch.inputs, labels=batch.targets)
        self.batch = batch


class LabelledInputs:
    """A collator whose batches are inputs and labels.

    Parameters
    ----------
    collate : callable
        The Trainer's, whose batches are mappings.
    """

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: Sequence[Any]) -> tuple[dict[str, Any], Any]:
        batch = self.collate(samples)
        if not isinstance(batch, Mapping) or "labels" not in batch:
            raise TypeError(
                "The batches of the Trainer's collator must be mappings with `labels`, "
                f"got {list(batch) if isinstance(batch, Mapping) else type(batch)}."
            )
        inputs = dict(batch)
        labels = inputs.pop("labels")
        return inputs, labels


def _check(trainer: Any) -> None:
    for name in ("args", "train_dataset", "get_train_dataloader", "training_step"):
        if not hasattr(trainer, name):
            raise TypeError(
                "`trainer` must be a transformers.Trainer, got "
                f"{type(trainer).__name__}, which has no `{name}`."
            )
    data = trainer.train_dataset
    if (
        data is None
        or isinstance(data, IterableDataset)
        or not hasattr(data, "__len__")
    ):
        raise TypeError(
            "`train_dataset` of the Trainer must be a map-style Dataset, whose samples "
            f"are told apart by number, got {type(data).__name__}."
        )
    for name, instead in _UNRECORDED.items():
        if value := getattr(trainer.args, name, None):
            raise ValueError(
                f"`{name}` of the Trainer's arguments must not be set, got {value!r}: "
                f"it cannot be repeated. Instead, {instead}."
            )
    if trainer.args.world_size > 1 or trainer.args.n_gpu > 1:
        raise ValueError(
            "A recorded run must be one process on one device, got "
            f"world_size={trainer.args.world_size}, n_gpu={trainer.args.n_gpu}."
        )


def _criterion_of(trainer: Any, samples: Sequence[Any]) -> tuple[Criterion, int]:
    """Return the criterion that gives the Trainer's loss of samples, one by one."""
    model, device = trainer.model, trainer.args.device
    known: dict[Criterion, Callable[[Any, Tensor], Tensor]] = {
        nn.CrossEntropyLoss: lambda z, y: nn.functional.cross_entropy(z, y),
        nn.BCEWithLogitsLoss: _bce,
        nn.MSELoss: lambda z, y: (z.reshape(y.shape) - y).square().mean(),
        token_losses: lambda z, y: token_losses(z, y).mean(),
        next_token_losses: lambda z, y: next_token_losses(z, y).mean(),
    }
    training = model.training
    model.eval()
    with torch.no_grad(), all_seeded(0):
        for inputs, labels in samples:
            own = {k: v.to(device) for k, v in inputs.items()}
            y = labels.to(device)
            loss = float(trainer.compute_loss(model, {**own, "labels": y}))
            logits = outputs_of(model(**own))
            known = {k: f for k, f in known.items() if _gives(f, logits, y, loss)}
    model.train(training)
    if len(known) != 1:
        names = ", ".join(getattr(c, "__name__", repr(c)) for c in known) or "none"
        raise ValueError(
            "`criterion` must be given where it cannot be told by the Trainer's loss "
            f"of single samples (that of {names} of those known). Pass a function of "
            "outputs and labels that returns one loss for each sample."
        )
    return next(iter(known)), logits.shape[-1]


def _gives(
    function: Callable[[Any, Tensor], Tensor], logits: Tensor, y: Tensor, loss: float
) -> bool:
    """Whether a loss is that of the Trainer; it may not take such labels at all."""
    try:
        found = float(function(logits, y))
    except (RuntimeError, ValueError, IndexError):
        return False
    tolerance = max(_TOLERANCE, 8 * torch.finfo(logits.dtype).eps)
    return abs(found - loss) <= tolerance * abs(loss)


def _bce(logits: Tensor, y: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits, y)
