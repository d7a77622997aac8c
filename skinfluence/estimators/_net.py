"""The skorch net below the estimators: its parameters, its parts and its losses."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, ClassVar, Self

import torch
from skorch.callbacks import Callback, PrintLog
from skorch.history import History
from skorch.net import NeuralNet
from skorch.utils import params_for, to_tensor
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from .._interrupts import deferred_interrupts
from ..exceptions import SkinfluenceError, UnsupportedCriterionError
from ..training import Ranks
from ..trajectory import Trajectory
from ._components import MAKES, called, check_callbacks, check_names
from ._copies import Detaching, check_hooks, check_scripted, deep_copy
from ._epoch_table import EpochTable
from ._losses import (
    criterion_takes,
    losses_by_sample,
    outputs_of,
    parts_by_target,
    targets_like,
)
from ._modules import BUILT_IN
from ._training_data import TrainingData
from ._typing import Device, Folder, ModuleLike

DTYPES = {"float32": torch.float32, "float64": torch.float64}

_LATER = ("iterator_train", "iterator_valid", "dataset")
_INSTANCES = ("module", "criterion")
_PRETRAINED = "pretrained__"


class InfluenceNet(NeuralNet):
    """A skorch net whose parameters follow scikit-learn's rules.

    scikit-learn allows ``__init__`` to set no public attribute but its named
    parameters; skorch looks for ``module__x`` and the like among the attributes. They
    have a mapping of their own here, and are read like attributes. One that is set as
    an attribute, as skorch does it, is used in place of the mapping's.
    """

    _keywords: dict[str, Any]

    # Parameters that the code beside the estimators' classes reads.
    module: ModuleLike
    max_epochs: int
    batch_size: int
    accumulate_steps: int
    dtype: str
    device: Device
    record: str | int | None
    checkpoint_every: str | int
    max_trajectory_bytes: str | int
    trajectory_dir: Folder | None
    compile: bool
    callbacks: list[Any] | str | None
    train_split: Callable[..., object] | None
    n_threads: str | int | None
    warm_start: bool
    stop_on_interrupt: bool
    pretrained: Any  # another net of this kind, or None
    freeze_pretrained: bool
    verbose: int

    # Attributes of an initialized or fitted net.
    module_: nn.Module
    criterion_: Any
    optimizer_: torch.optim.Optimizer
    callbacks_: list[tuple[str, Callback]]
    dtype_: torch.dtype | None
    seed_: int
    n_steps_: int
    n_epochs_: int
    training_data_: list[TrainingData]
    trajectory_: Trajectory | None
    pretrained_parameters_: list[str]

    # What skorch's `__init__` would set besides the parameters.
    history_: History | None = None
    initialized_: bool = False
    # Whether its gradient was found to have the derivative that autograd gives it.
    retraceable_: bool = True
    # The processes that answer a question together.
    _ranks = Ranks()
    virtual_params_: ClassVar[dict[str, Any]] = {}

    def _set_init_params(self, arguments: dict[str, Any]) -> None:
        """Set the parameters from the ``locals()`` of ``__init__``."""
        self._keywords = dict(arguments["kwargs"])
        left_out = ("self", "kwargs", "__class__")
        self.__dict__.update({k: v for k, v in arguments.items() if k not in left_out})

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @property
    def _component_parameters(self) -> dict[str, Any]:
        """The parameters of the components, ``module__x`` and the like."""
        own = {k: v for k, v in vars(self).items() if _is_keyword(k)}
        return {**self._keywords, **own}

    @property
    def _params_to_validate(self) -> set[str]:
        """The names that skorch checks for known prefixes."""
        return {*self._component_parameters}

    def __getattr__(self, name: str) -> Any:
        keywords = self.__dict__.get("_keywords", {})
        if name in keywords:
            return keywords[name]
        # Fails again, with the message of the property that failed if it was one.
        return object.__getattribute__(self, name)

    # An instance given as a *parameter* is not one of skorch's trained components,
    # whose names end with an underscore.

    def _check_settable_attr(self, name: str, attr: object) -> None:
        if name not in _INSTANCES:
            super()._check_settable_attr(name, attr)

    def _register_attribute(self, name: str, *args: Any, **kwargs: Any) -> None:
        if name not in _INSTANCES:
            super()._register_attribute(name, *args, **kwargs)

    def _get_param_names(self) -> list[str]:
        names = super()._get_param_names()
        return [*(k for k in names if not k.startswith("_")), *self._keywords]

    def _get_params_for(self, prefix: str) -> dict[str, Any]:
        return dict(params_for(prefix, self._component_parameters))

    def get_params(self, deep: bool = True, **kwargs: Any) -> dict[str, Any]:
        """Return the parameters, without those of the pretrained estimator.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return ``module__x`` and the like too.
        **kwargs : dict
            As in skorch.

        Returns
        -------
        dict of str to object
            Parameters by name.
        """
        params = super().get_params(deep=deep, **kwargs)
        return {k: v for k, v in params.items() if not k.startswith(_PRETRAINED)}

    def set_params(self, **params: Any) -> Self:
        """Set parameters, ``module__x`` and ``optimizer__x`` included.

        Parameters
        ----------
        **params : dict
            Parameters by name.

        Returns
        -------
        self : object
            The estimator.
        """
        for name in params:
            if name.startswith(_PRETRAINED):
                raise ValueError(
                    f"`{name}` cannot be set: `pretrained` is a fitted estimator, and "
                    "another parameter would not train it again. Fit another one, and "
                    "set `pretrained` to it."
                )
        if self.initialized_:
            # skorch uses them at once; otherwise fit checks them first.
            check_callbacks(params.get("callbacks"))
            check_names(self, params)
        elif "callbacks" in params:
            self.callbacks = params.pop("callbacks")
        # skorch cannot apply these to an initialized net: the next fit uses them.
        later = [k for k in params if k == "optimizer" or k.startswith(_LATER)]
        for name in later:
            setattr(self, name, params[name])
        super().set_params(**{k: v for k, v in params.items() if k not in later})
        # skorch sets those of the optimizer on the current one, but drops them at the
        # next fit; the others it sets as attributes.
        for name, value in params.items():
            if name in self._keywords or _is_keyword(name):
                self._keywords[name] = value
                self.__dict__.pop(name, None)
        return self

    def __sklearn_clone__(self) -> Self:
        """Clone the parameters, but keep the pretrained estimator itself.

        A clone of *it* would not be fitted.
        """
        self._check_hooks()
        with Detaching():
            cloned: Self = super().__sklearn_clone__()
        cloned.pretrained = self.pretrained
        return cloned

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied: Self = object.__new__(type(self))
        memo[id(self)] = copied
        with Detaching():
            copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied

    def _check_components(self) -> None:
        """Refuse components and parameters of theirs that cannot be trained with."""
        parameters = self._component_parameters
        self._check_hooks()
        check_callbacks(self.callbacks)
        check_names(self, parameters)

    def _check_hooks(self) -> None:
        """Refuse a module or criterion with hooks that its copies would lack."""
        check_hooks([self.module, self.__dict__.get("criterion")])

    def __getstate__(self) -> dict[str, Any]:
        self._check_hooks()
        state: dict[str, Any] = super().__getstate__()
        return state

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        default: list[tuple[str, Any]] = super()._default_callbacks
        return [(k, EpochTable() if type(v) is PrintLog else v) for k, v in default]

    def _made(
        self, name: str, make: Callable[[], Any], options: Mapping[str, Any]
    ) -> Any:
        """Return what a component makes; refuse options that it does not take.

        `options` are those that it is made with, for the message.
        """
        try:
            found = make()
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            own = isinstance(error, SkinfluenceError) or str(error).startswith("`")
            # Without options only a TypeError is about them: it is of those that lack.
            if own or not (options or isinstance(error, TypeError)):
                raise
            named = (f"{name}__{k}={v!r:.80}" for k, v in options.items())
            given = ", ".join(named) or f"no {name}__..."
            raise ValueError(
                f"`{name}` must be made with values that it takes, got {given}: {error}"
            ) from error
        kind, text = MAKES[name]
        if not isinstance(found, kind):
            component = called(getattr(self, name))
            raise TypeError(
                f"`{name}` must make {text}, got {found!r:.200} from {component}."
            )
        return found

    def initialize_module(self) -> Self:
        """Make the module; an instance is copied, so that every fit starts from it."""
        kwargs = self.get_params_for("module")
        if isinstance(self.module, nn.Module) and not kwargs:
            check_scripted([self.module])
            self.module_ = deep_copy(self.module)
        else:
            self._made("module", lambda: self._new_module(kwargs), kwargs)
        if self.dtype != "auto":
            _convert(self.module_, DTYPES[self.dtype])
        self.dtype_ = _floating_dtype(self.module_)
        return self

    def _new_module(self, kwargs: dict[str, Any]) -> Any:
        # Whatever the default dtype is, the same numbers are drawn.
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            if isinstance(self.module, str):
                self.module_ = self._built_in_module(self.module, kwargs)
            else:
                super().initialize_module()
        finally:
            torch.set_default_dtype(default)
        return self.module_

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> Self:
        """Make the optimizer."""
        # torch loads this part with its first optimizer, and never again if that is
        # broken off.
        with deferred_interrupts():
            import_module("torch._dynamo")
        make = super().initialize_optimizer
        options = {"lr": self.lr, **self.get_params_for("optimizer")}
        self._made("optimizer", lambda: make(*args, **kwargs).optimizer_, options)
        return self

    def _built_in_module(self, name: str, kwargs: dict[str, Any]) -> nn.Module:
        if not hasattr(self, "n_features_in_"):
            raise ValueError(
                f"The built-in module {name!r} takes its size from the data: "
                "call fit instead of initialize."
            )
        sizes = self.n_features_in_, self.n_outputs_
        module = BUILT_IN[name](*sizes, **kwargs)
        dtype = getattr(self, "dtype_", None)
        if self.run_ is not None:
            dtype = getattr(torch, self.run_.data.X.dtype.name)
        return module.to(dtype)

    def initialize_criterion(self) -> Self:
        """Make the criterion, with one loss for each sample."""
        kwargs, criterion = self.get_params_for("criterion"), self._criterion()
        make = partial(self.initialized_instance, criterion, kwargs)
        if isinstance(criterion, nn.Module) and not kwargs:
            make = partial(deep_copy, criterion)
        self.criterion_ = self._made("criterion", make, kwargs)
        # "batchmean" sums a sample's losses, "mean" takes their mean.
        reduction = getattr(self.criterion_, "reduction", None)
        if reduction not in (None, "mean", "none", "batchmean"):
            raise UnsupportedCriterionError(
                "`criterion` must have reduction 'mean' or 'none' "
                f"(criterion__reduction), got {reduction!r}: a step takes the mean "
                "over its batch. Scale `lr` instead of taking the sum."
            )
        self.sums_outputs_ = reduction == "batchmean"
        if reduction is not None:
            self.criterion_.reduction = "none"
        return self

    def _criterion(self) -> Any:
        """Return the criterion that was chosen."""
        return self.criterion

    def torch_compile(self, module: nn.Module, name: str) -> nn.Module:
        """Return a module as it is: whole steps are compiled instead."""
        return module

    def infer(self, x: object, **fit_params: Any) -> Any:
        """Run the module on a batch, in the module's dtype."""
        x = self._placed(x)
        if not isinstance(x, Tensor):
            return super().infer(x, **fit_params)
        return self.module_(x, **fit_params)

    def _placed(self, x: object) -> Any:
        """Return inputs on the module's device, and in its dtype."""
        return _cast(self, x if isinstance(x, Tensor) else to_tensor(x, self.device))

    def get_losses(
        self, y_pred: object, y_true: object, X: object = None, training: bool = False
    ) -> Tensor:
        """Return the loss of each sample of a batch.

        Override this method to use another loss: everything else is derived from it.

        Parameters
        ----------
        y_pred : object
            What the module returned.
        y_true : Tensor
            Targets.
        X : object, optional
            Inputs of the batch.
        training : bool, default=False
            Whether this is a training batch.

        Returns
        -------
        Tensor of shape (batch,)
            One loss for each sample; the mean over its outputs if there are several,
            without those whose targets the criterion ignores.

        Raises
        ------
        UnsupportedCriterionError
            If the criterion does not return one loss for each sample.
        """
        losses, targets = self._unreduced(y_pred, y_true, X, training)
        return losses_by_sample(
            self.criterion_, losses, targets, summed=self.sums_outputs_
        )

    def _unreduced(
        self, y_pred: object, y_true: object, X: object, training: bool
    ) -> tuple[Tensor, Any]:
        """Return what the criterion returns for a batch, and the targets it took."""
        outputs = criterion_takes(self.criterion_, y_pred)
        targets = targets_like(outputs, y_true, self.device)
        try:
            losses = super().get_loss(outputs, targets, X=X, training=training)
        except IndexError as error:  # torch's, of a class beyond the module's outputs
            raise ValueError(
                f"The targets must be numbers of the module's outputs: {error}"
            ) from error
        return losses, targets

    def _loss_parts(
        self, outputs: object, targets: object, inputs: tuple[Any, dict[str, Any]]
    ) -> Tensor:
        losses, taken = self._unreduced(outputs, targets, inputs[0], True)
        return parts_by_target(
            self.criterion_, losses, taken, summed=self.sums_outputs_
        )

    def get_loss(
        self, y_pred: object, y_true: object, X: object = None, training: bool = False
    ) -> Tensor:
        """Return the mean loss of a batch; see :meth:`get_losses`."""
        return self.get_losses(y_pred, y_true, X=X, training=training).mean()

    def _get_predict_nonlinearity(self) -> Callable[[Any], Any]:
        nonlinearity = super()._get_predict_nonlinearity()
        return lambda returned: nonlinearity(outputs_of(returned))

    def _outputs(self, inputs: tuple[Any, dict[str, Any]]) -> Any:
        x, fit_params = inputs
        return self.infer(x, **fit_params)

    def _step_losses(
        self, outputs: object, targets: object, inputs: tuple[Any, dict[str, Any]]
    ) -> Tensor:
        return self.get_losses(outputs, targets, X=inputs[0], training=True)


def _is_keyword(name: str) -> bool:
    return "__" in name.strip("_") and not name.startswith("_")


def net_modules(net: InfluenceNet) -> list[nn.Module]:
    """Return the net's modules and criteria."""
    parts = [getattr(net, f"{name}_") for name in net._modules + net._criteria]
    return [part for part in parts if isinstance(part, nn.Module)]


def net_buffers(net: InfluenceNet) -> list[Tensor]:
    """Return the buffers of the net's modules."""
    return [buffer for module in net_modules(net) for buffer in module.buffers()]


def norm_buffers(net: InfluenceNet) -> list[Tensor]:
    """Return the running statistics of norms, which training changes."""
    parts = (part for module in net_modules(net) for part in module.modules())
    norms = (part for part in parts if isinstance(part, _NormBase))
    return [buffer for norm in norms for buffer in norm.buffers(recurse=False)]


def _convert(module: nn.Module, dtype: torch.dtype) -> None:
    """Give a module a precision. `module.to` would make complex buffers real."""

    def converted(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(dtype.to_complex())
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    module._apply(converted)


def _floating_dtype(module: nn.Module) -> torch.dtype | None:
    """Return the dtype of the module's floating-point parameters, if it has any."""
    for parameter in module.parameters():
        if parameter.is_floating_point():
            return parameter.dtype
    return None


def _cast(net: InfluenceNet, x: object) -> Any:
    """Move a batch to the module's device, its floating-point inputs to its dtype."""
    if isinstance(x, Mapping):
        return {name: _cast(net, value) for name, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [_cast(net, value) for value in x]
    if not isinstance(x, Tensor):
        return x
    return x.to(net.device, net.dtype_ if x.is_floating_point() else None)
