"""The skorch net below the estimators: its parameters, and what its parts share."""

import copy
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from skorch.callbacks import Callback
from skorch.history import History
from skorch.net import NeuralNet
from skorch.utils import params_for
from torch import nn

from ..trajectory import Trajectory
from ._copies import Detaching, check_hooks
from ._training_data import TrainingData
from ._typing import Device, Folder, ModuleLike

_FOR_THE_NEXT_FIT = ("iterator_train", "iterator_valid", "dataset")
_PRETRAINED = "pretrained__"


class InfluenceNet(NeuralNet):
    """A skorch net whose parameters follow scikit-learn's rules.

    scikit-learn allows ``__init__`` to set no attribute but its named parameters;
    skorch looks for ``module__x`` and the like among the attributes. They have a
    mapping of their own here, outside ``vars(self)``, and are read like attributes.
    """

    __slots__ = ("_keywords",)
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
    warm_start: bool
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
    virtual_params_: ClassVar[dict[str, Any]] = {}

    def _set_init_params(self, arguments: dict[str, Any]) -> None:
        """Set the parameters from the ``locals()`` of ``__init__``."""
        self._keywords = dict(arguments["kwargs"])
        left_out = ("self", "kwargs", "__class__")
        self.__dict__.update({k: v for k, v in arguments.items() if k not in left_out})

    @property
    def _params_to_validate(self) -> set[str]:
        """The names that skorch checks for known prefixes."""
        return set(self._keywords)

    def __getattr__(self, name: str) -> Any:
        if name != "_keywords" and name in self._keywords:
            return self._keywords[name]
        # Fails again, with the message of the property that failed if it was one.
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "_keywords":
            object.__setattr__(self, name, value)
        elif name in ("module", "criterion"):
            # An instance given as a *parameter* is not one of skorch's trained
            # components, whose names end with an underscore.
            self.__dict__[name] = value
        elif name in self._keywords or _is_keyword(name):
            self._keywords[name] = value
        else:
            super().__setattr__(name, value)

    def _get_param_names(self) -> list[str]:
        return [*super()._get_param_names(), *self._keywords]

    def _get_params_for(self, prefix: str) -> dict[str, Any]:
        return dict(params_for(prefix, {**self.__dict__, **self._keywords}))

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
        if "callbacks" in params and not self.initialized_:
            # skorch would initialize them at once; fit checks them first.
            self.callbacks = params.pop("callbacks")
        # skorch cannot apply these to an initialized net: the next fit uses them.
        for name in list(params):
            if name == "optimizer" or name.startswith(_FOR_THE_NEXT_FIT):
                setattr(self, name, params.pop(name))
        super().set_params(**params)
        # skorch sets these on the current optimizer, but drops them at the next fit.
        kept = {k: v for k, v in params.items() if k.startswith("optimizer__")}
        self._keywords.update(kept)
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

    def _check_hooks(self) -> None:
        """Refuse a module or criterion with hooks that its copies would lack."""
        check_hooks([self.module, self.__dict__.get("criterion")])

    def __getstate__(self) -> dict[str, Any]:
        self._check_hooks()
        return {**super().__getstate__(), "_keywords": self._keywords}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._keywords = state.pop("_keywords")
        super().__setstate__(state)


def _is_keyword(name: str) -> bool:
    return "__" in name.strip("_") and not name.startswith("_")
