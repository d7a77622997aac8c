"""Recording of a training loop of the user's own."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

import torch
from skorch.dataset import get_len, unpack_data
from skorch.utils import to_numpy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils import _pytree as pytree
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
)

from .._numbers import check_integer, is_integer, random_generator
from .._summary import Summarized
from ..estimators import Folder, RandomState, after_backward, as_dataset
from ..exceptions import NotRecordedError, UnsupportedModuleError
from ..training import (
    Ranks,
    batch_coefficients,
    moment_names,
    seeded,
    twice_differentiable,
)
from ..trajectory import run_in_words
from ._linearity import Linearity
from ._models import (
    Criterion,
    Forward,
    RecordedClassifier,
    RecordedRegressor,
    is_criterion,
)


class Batch(NamedTuple):
    """A batch of the training data.

    Attributes
    ----------
    inputs, targets : object
        As the Dataset, or the ``collate_fn``, gives them, on the CPU.
    rows : Tensor of shape (batch,), int64
        Which samples they are.
    """

    inputs: Any
    targets: Any
    rows: Tensor


class Recorder(Summarized):
    r"""Records a training loop of your own, exactly.

    The loop draws its batches from :meth:`batches` and computes their loss by
    :meth:`loss`; everything else stays as it is: what calls ``backward``, clips
    gradients, steps the optimizer and its scheduler is seen. :meth:`finish` returns the
    model with the questions about its run, such as ``influence``.

    Parameters
    ----------
    module : torch.nn.Module
        What is trained, in place. Everything that the loss depends on and that is
        trained must be in it. Where several processes train together, the
        DistributedDataParallel around it.
    optimizer : torch.optim.Optimizer
        The optimizer of its parameters: one that an
        :class:`~skinfluence.SGDInfluenceRegressor` takes, but not LBFGS.
    criterion : torch.nn.Module class or instance, or callable
        Gives one loss for each sample: one of torch's criteria (of a copy the
        ``reduction`` is set to "none"), or ``criterion(outputs, targets)``, which takes
        what the module returned and the targets, on the module's device, and returns a
        tensor of shape (batch,).
    data : torch.utils.data.Dataset or tuple (X, y)
        The training data: a map-style Dataset of inputs and targets, or arrays or
        tensors of them (X also a dict of arrays, given to the module by keywords).
    forward : callable, optional
        ``forward(module, inputs) -> outputs``; by default ``module(inputs)``, or
        ``module(**inputs)`` where the inputs are a mapping. An autocast belongs here.
    collate_fn : callable, optional
        Makes a batch of inputs and targets from a list of the Dataset's items, in
        training and for validation data; by default
        ``torch.utils.data.default_collate``.
    n_classes : int, optional
        Number of classes, where the targets are their numbers from 0: the model is a
        classifier then, with ``label_influence``. Known without it where y is given as
        integers and `criterion` is CrossEntropyLoss or NLLLoss: the largest label is
        the last class.
    random_state : int, RandomState instance or None, default=None
        Determines batches, and what the modules and the Dataset draw in training.
    max_epochs : int, default=20
        How many epochs are expected, to plan which states are kept; there may be more.
    record : "all", "replay" or int, default="all"
        As in :class:`~skinfluence.SGDInfluenceRegressor`.
    checkpoint_every, max_trajectory_bytes, trajectory_dir : object
        As in :class:`~skinfluence.SGDInfluenceRegressor`.
    resume : bool, default=False
        Whether to go on with the newest run in `trajectory_dir` that was stopped, if
        there is one. The whole loop is run again, with the same data, initial
        parameters and options: the recorded steps are passed over.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.
    UnsupportedOptimizerError, UnsupportedCriterionError
        If steps of the optimizer, or the losses, cannot be retraced.

    Notes
    -----
    A step takes the mean of the batch's losses,

    .. math:: L_t(θ) = \frac{1}{|S_t|} \sum_{i \in S_t} ℓ_i(θ),

    times the factor that the loop gives it, the same in every step. Gradients that are
    accumulated over several batches (``(loss / k).backward()``) are one step, and so
    are those that are averaged over several processes.
    Clipping by norm or by value is recognized by what it does to the gradients. What a
    loop does besides, such as evaluation, logging or drawing random numbers, changes
    nothing; what changes the parameters, the gradients or the optimizer's state by
    another way is refused at the step where it happens. Weights of an earlier epoch
    that are loaded at the end make that epoch the last one.

    Each batch of the loop is drawn, and computed, under a seed of its own, so that the
    run can be repeated; the global generators are as before afterwards.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from torch.nn.utils import clip_grad_norm_
    >>> from skinfluence import Recorder
    >>> X, y = load_digits(return_X_y=True)
    >>> X = (X / 16).astype("float32")
    >>> module = torch.nn.Sequential(
    ...     torch.nn.Linear(64, 16), torch.nn.SiLU(), torch.nn.Linear(16, 10)
    ... )
    >>> optimizer = torch.optim.SGD(module.parameters(), lr=0.5, momentum=0.9)
    >>> scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)
    >>> recorder = Recorder(
    ...     module,
    ...     optimizer,
    ...     torch.nn.CrossEntropyLoss,
    ...     (X[:500], y[:500]),
    ...     random_state=0,
    ... )
    >>> for epoch in range(3):
    ...     for batch in recorder.batches(batch_size=64, shuffle=True):
    ...         optimizer.zero_grad()
    ...         loss = recorder.loss(batch)
    ...         loss.backward()
    ...         _ = clip_grad_norm_(module.parameters(), 1.0)
    ...         optimizer.step()
    ...     scheduler.step()
    >>> model = recorder.finish()
    >>> model.influence(X[500:600], y[500:600]).shape
    (500,)
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        criterion: Criterion,
        data: object,
        *,
        forward: Forward | None = None,
        collate_fn: Callable[[Any], Any] | None = None,
        n_classes: int | None = None,
        random_state: RandomState = None,
        max_epochs: int = 20,
        record: str | int = "all",
        checkpoint_every: str | int = "auto",
        max_trajectory_bytes: str | int = "auto",
        trajectory_dir: Folder | None = None,
        resume: bool = False,
    ) -> None:
        wrapper, module = module, _unwrapped(module)
        ranks = Ranks.of(getattr(wrapper, "process_group", None))
        _check_parts(module, optimizer, criterion, forward, collate_fn)
        _check_ranks(wrapper, ranks, resume)
        X, y = _arrays_or_dataset(data)
        if record not in ("all", "replay"):
            record = check_integer("record", record, least=1)
        device = next(iter(module.parameters())).device
        options: dict[str, Any] = {
            "optimizer": type(optimizer),
            "device": str(device),
            "random_state": _shared_seed(random_state, ranks),
            "max_epochs": check_integer("max_epochs", max_epochs, least=1),
            "record": record,
            "checkpoint_every": checkpoint_every,
            "max_trajectory_bytes": max_trajectory_bytes,
            "trajectory_dir": trajectory_dir,
            "callbacks": "disable",
        }
        if collate_fn is not None:
            options |= {
                f"iterator_{kind}__collate_fn": collate_fn
                for kind in ("train", "valid")
            }
        classes = _n_classes(n_classes, criterion, data)
        self._net: RecordedClassifier | RecordedRegressor
        if classes is None:
            self._net = RecordedRegressor(type(module), criterion, forward, **options)
        else:
            self._net = RecordedClassifier(
                type(module), criterion, classes, forward, **options
            )
        averaging = None if wrapper is module else wrapper
        self._run = self._net._begin(
            module, optimizer, X, y, ranks, averaging, resume=resume
        )
        self._optimizer, self._n_groups = optimizer, len(optimizer.param_groups)
        self._kernels = twice_differentiable([module])
        self._loaders: dict[str, Any] = {}
        self._linearity = Linearity()
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            "A Recorder cannot be copied or pickled: it belongs to its module and "
            "optimizer. Copy or save the model that `finish` returns."
        )

    def __repr__(self) -> str:
        run = self._net.trajectory_
        return f"<Recorder of {run!r}>"

    def _facts(self) -> dict[str, str]:
        return run_in_words(self._net.trajectory_)

    @property
    def n_steps(self) -> int:
        """Number of steps that were recorded so far."""
        return self._run.n_steps

    def batches(
        self, batch_size: int = 64, *, shuffle: bool = False, **options: Any
    ) -> Iterator[Batch]:
        """Iterate over the training data once: an epoch.

        Parameters
        ----------
        batch_size : int, default=64
            Samples in a batch; -1 for all. Of several processes each draws a batch.
        shuffle : bool, default=False
            Whether they are drawn in another order in each epoch.
        **options : dict
            Further options of :class:`torch.utils.data.DataLoader`, such as
            ``num_workers``, ``drop_last``, ``sampler`` or ``batch_sampler``: the same
            in every epoch.

        Yields
        ------
        Batch
            The inputs, the targets and their rows.

        Raises
        ------
        RuntimeError
            If the recorder was finished.
        TypeError, ValueError
            If the options are not those of the first epoch, or are not a loader's.
        """
        if not (is_integer(batch_size) and batch_size == -1):
            batch_size = check_integer("batch_size", batch_size, 1)
        loader = self._loader({"batch_size": batch_size, "shuffle": shuffle, **options})
        epoch = None
        for loaded in loader:
            epoch = epoch or self._run.n_epochs
            if epoch != self._run.n_epochs:
                raise RuntimeError(
                    "Batches must be taken from one call of `recorder.batches` at a "
                    "time, but a later call has begun. Take the rest of an epoch "
                    "before the next, or leave it."
                )
            inputs, targets = unpack_data(loaded)
            yield Batch(inputs, targets, self._run.batches.popleft())

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean loss of a batch, to be differentiated.

        Parameters
        ----------
        batch : Batch
            A batch of :meth:`batches`.

        Returns
        -------
        Tensor of shape ()
            The loss, with its graph.

        Raises
        ------
        IrreproducibleStepError
            If something has changed since the last step that no record could tell.
        UnsupportedModuleError
            At the first step, if its gradient does not have the derivative that
            autograd gives it, or if it would be another one when it is repeated.
        RuntimeError
            If the module is not in training mode, if gradients or autocast are switched
            in a way that a repetition would not be, or if the recorder was finished.
        """
        self._check_mode(batch)
        run, net = self._run, self._net
        known = run.repeated_loss(net, batch.rows)
        if known is not None:
            return torch.tensor(
                known, dtype=net.dtype_, device=net.device, requires_grad=True
            )
        seed = run.begin_loss(net, batch.rows, (batch.inputs, batch.targets))
        with self._kernels, seeded(seed, torch.device(net.device)) as draws:
            outputs = net._outputs((batch.inputs, {}))
            losses = net._step_losses(outputs, batch.targets, (batch.inputs, {}))
            loss = losses @ batch_coefficients(None, losses)
        run.note_loss(float(loss.detach()), draws.any)
        if not self.n_steps:
            loss = self._linearity.begin(loss)
        loss.register_hook(self._differentiated)
        return loss

    def finish(self) -> RecordedClassifier | RecordedRegressor:
        """Close the run.

        Returns
        -------
        RecordedClassifier or RecordedRegressor
            The model, on copies of the module and the optimizer: what is trained
            afterwards is not part of the run.

        Raises
        ------
        NotRecordedError
            If no step was taken.
        RuntimeError
            If the recorder was finished.
        """
        self._check_open()
        trajectory = self._net.trajectory_
        if trajectory is None or not trajectory.records:
            raise NotRecordedError(
                "A run must have at least one step, got 0: call `recorder.loss(batch)"
                ".backward()` and `optimizer.step()` before `finish`."
            )
        for hook in self._hooks:
            hook.remove()
        self._linearity.end()
        self._net._end()
        self._hooks = []
        return self._net

    def _loader(self, options: dict[str, Any]) -> Any:
        self._check_open()
        if "collate_fn" in options:
            raise TypeError(
                "`collate_fn` must be given to the Recorder, which needs it for "
                "validation data too, and not to `batches`."
            )
        key = {k: v for k, v in options.items() if v is not None}
        if not self._loaders:
            self._net._set_loading(self._shared_out(key))
            loader = self._net.get_iterator(self._run.data.dataset, training=True)
            self._loaders = {"options": key, "loader": loader}
        if self._loaders["options"] != key:
            raise ValueError(
                "The options of `batches` must be the same in every epoch, "
                f"{self._loaders['options']}, got {key}."
            )
        return self._loaders["loader"]

    def _shared_out(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return options of a loader with which each rank draws its own batches."""
        ranks = self._run.ranks
        if ranks.number == 1 or {"sampler", "batch_sampler"} & options.keys():
            return dict(options)
        rows = range(len(self._run.data))
        draw = RandomSampler if options["shuffle"] else SequentialSampler
        return {**options, "shuffle": False, "sampler": _Share(draw(rows), ranks)}

    def _check_open(self) -> None:
        if not self._hooks:
            raise RuntimeError(
                "The recorder must not be finished yet, but `finish` was called. Make "
                "another Recorder for another run."
            )

    def _check_mode(self, batch: object) -> None:
        self._check_open()
        if not isinstance(batch, Batch):
            raise TypeError(
                "`batch` must be a Batch of `recorder.batches`, got "
                f"{type(batch).__name__}."
            )
        still = [m for m in self._net.module_.modules() if not m.training]
        if still:
            raise RuntimeError(
                "Every part of the module must be in training mode in a recorded step, "
                f"but {type(still[0]).__name__} is not. Call `module.train()`; to "
                "freeze a norm, give the module one without running statistics."
            )
        if len(self._optimizer.param_groups) != self._n_groups:
            raise RuntimeError(
                "The optimizer must keep the parameter groups that it had when the "
                f"Recorder was made ({self._n_groups}), got "
                f"{len(self._optimizer.param_groups)}. Give it all of them at first, "
                "and freeze those that are trained later (`requires_grad_(False)`)."
            )
        if not torch.is_grad_enabled():
            raise RuntimeError(
                "`recorder.loss` must be called with gradients enabled, got it inside "
                "torch.no_grad or inference_mode. Compute a loss for evaluation with "
                "the module itself."
            )
        if torch.is_autocast_enabled(torch.device(self._net.device).type):
            raise RuntimeError(
                "`recorder.loss` must not be called inside torch.autocast, which is no "
                "part of what is repeated. Use it inside `forward`."
            )

    def _differentiated(self, factor: Tensor) -> None:
        """Note that the backward pass of the batch in hand begins."""
        self._linearity.check(factor)
        self._run.begin_backward(self._net, float(factor))
        # After what averages gradients, which is told of their end on the way.
        after_backward(
            lambda: after_backward(lambda: self._run.end_backward(self._net))
        )

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        # The first is the optimizer itself.
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        found = None
        if closure is not None:
            # The optimizer would call it first, once.
            with torch.enable_grad():
                found = closure()
        self._run.begin_update(self._net)
        return (optimizer, None if closure is None else lambda: found), {}

    def _after_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._run.end_update(self._net)


class _Share(Sampler[int]):
    """What one of several ranks takes of the rows that a sampler draws.

    The first few are taken again where the ranks would not have as many each, as a
    DistributedSampler does. The run seeds all ranks' samplers alike.
    """

    def __init__(self, sampler: Sampler[int], ranks: Ranks) -> None:
        self.sampler, self.ranks = sampler, ranks

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.ranks.number)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        rows = [*self.sampler]
        again = rows[: -len(rows) % self.ranks.number]
        return iter(self.ranks.own([*rows, *again]))


def _check_parts(
    module: object,
    optimizer: object,
    criterion: object,
    forward: object,
    collate_fn: object,
) -> None:
    if not isinstance(module, nn.Module) or not any(True for _ in module.parameters()):
        raise TypeError(
            "`module` must be a torch.nn.Module with parameters, got "
            f"{type(module).__name__}."
        )
    if (wrapper := _wrapper_of(module)) is not None:
        raise TypeError(
            "`module` must be the one that is trained itself, or a "
            f"DistributedDataParallel around it, got {wrapper}. Pass the module in it."
        )
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(
            "`optimizer` must be a torch.optim.Optimizer, got "
            f"{type(optimizer).__name__}."
        )
    if not is_criterion(criterion) and not callable(criterion):
        raise TypeError(
            "`criterion` must be one of torch.nn, or a function of outputs and targets "
            f"that returns one loss for each sample, got {criterion!r:.80}."
        )
    if forward is not None and not callable(forward):
        raise TypeError(
            "`forward` must be a function of the module and its inputs, or None, got "
            f"{forward!r:.80}."
        )
    if collate_fn is not None and not callable(collate_fn):
        raise TypeError(
            "`collate_fn` must be a function of a list of items, or None, got "
            f"{collate_fn!r:.80}."
        )
    moment_names(optimizer)
    own = {id(parameter) for parameter in module.parameters()}
    groups = optimizer.param_groups
    others = sum(id(p) not in own for group in groups for p in group["params"])
    if others:
        raise ValueError(
            "`optimizer` must hold parameters of `module` alone, got "
            f"{others} others. Put everything that is trained into one module."
        )


def _unwrapped(module: Any) -> Any:
    parallel = nn.parallel.DistributedDataParallel
    return module.module if isinstance(module, parallel) else module


def _check_ranks(wrapper: nn.Module, ranks: Ranks, resume: bool) -> None:
    if ranks.number == 1:
        return
    if resume:
        raise ValueError(
            f"`resume` must be False where {ranks.number} processes train together, "
            "got True. Begin the run anew."
        )
    if wrapper is _unwrapped(wrapper):
        raise TypeError(
            "`module` must be a torch.nn.parallel.DistributedDataParallel where "
            f"{ranks.number} processes train together, got {type(wrapper).__name__}, "
            "whose gradients are not averaged. Wrap it, and pass the wrapper."
        )
    if any(isinstance(m, nn.SyncBatchNorm) for m in wrapper.modules()):
        raise UnsupportedModuleError(
            "`module` must not contain SyncBatchNorm, whose statistics are those of "
            "the batches of all processes together. Use a norm without statistics "
            "(LayerNorm, GroupNorm)."
        )


def _shared_seed(random_state: RandomState, ranks: Ranks) -> RandomState:
    """Return the random state of all processes: the first one's."""
    if ranks.number == 1:
        return random_state
    seed = random_generator(random_state).randint(2**31 - 1)
    first: int = ranks.gather(seed)[0]
    return first


def _wrapper_of(module: nn.Module) -> str | None:
    """Return the name of what distributes or compiles a module, if it is one."""
    if hasattr(module, "_orig_mod"):
        return "a module that torch.compile returned"
    parallel = nn.DataParallel, nn.parallel.DistributedDataParallel
    found = [m for m in module.modules() if isinstance(m, parallel)]
    return type(found[0]).__name__ if found else None


def _n_classes(n_classes: int | None, criterion: Criterion, data: object) -> int | None:
    if n_classes is not None:
        return check_integer("n_classes", n_classes, least=2)
    kind = criterion if isinstance(criterion, type) else type(criterion)
    y = torch.as_tensor(data[1]) if isinstance(data, tuple) else torch.empty(0)
    if kind not in (nn.CrossEntropyLoss, nn.NLLLoss) or y.is_floating_point():
        return None
    return int(y.max()) + 1 if y.dim() == 1 and len(y) else None


def _arrays_or_dataset(data: object) -> tuple[Any, Any]:
    """Return X and y; of a Dataset, which holds both, itself and None."""
    if isinstance(data, DataLoader):
        raise TypeError(
            "`data` must be a Dataset or a tuple (X, y), got a DataLoader. Pass its "
            "`dataset`, and its options to `recorder.batches`."
        )
    if isinstance(data, IterableDataset):
        raise TypeError(
            "`data` must be a Dataset with rows, got an IterableDataset, whose samples "
            "cannot be told apart by number. Use a map-style Dataset."
        )
    if isinstance(data, tuple) and len(data) == 2:
        X, y = (pytree.tree_map_only(Tensor, to_numpy, part) for part in data)
        n_samples = {get_len(X), len(y)}
        if len(n_samples) > 1 or 0 in n_samples:
            raise ValueError(
                "X and y of `data` must have the same number of samples, at least one, "
                f"got {get_len(X)} and {len(y)}."
            )
        return X, y
    data = as_dataset(data)
    if isinstance(data, Dataset):
        return data, None
    raise TypeError(
        "`data` must be a map-style Dataset of inputs and targets, or a tuple (X, y), "
        f"got {type(data).__name__}."
    )
