"""Checks of an estimator's parameters."""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from numbers import Integral, Real
from os import PathLike
from typing import Any

import torch
from sklearn.base import is_classifier
from sklearn.utils._param_validation import (
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from torch import nn

from .._numbers import RANDOM_STATE, Count, Number, is_real
from .._values import check_boolean, check_path
from ..training import SUPPORTED_OPTIMIZERS, check_device
from ._modules import BUILT_IN
from ._net import DTYPES, InfluenceNet

_POSITIVE = Count(1)
_IN_MEMORY = " ('.' for the working folder), or None to record in memory"

_CONSTRAINTS: dict[str, list[Any]] = {
    "module": [StrOptions(set(BUILT_IN)), type, nn.Module, callable],
    "criterion": [nn.Module, callable],
    "optimizer": [callable],
    "lr": [Number(Real, 0, None, closed="left"), torch.Tensor],
    "max_epochs": [Count(0)],
    "batch_size": [_POSITIVE, Options(Integral, {-1})],
    "accumulate_steps": [_POSITIVE],
    "shuffle": ["boolean"],
    "class_weight": [Mapping, StrOptions({"balanced"}), None],
    "dtype": [StrOptions({"auto", *DTYPES})],
    "random_state": RANDOM_STATE,
    "record": [StrOptions({"all", "replay"}), _POSITIVE, None],
    "checkpoint_every": [StrOptions({"auto"}), _POSITIVE],
    "max_trajectory_bytes": [StrOptions({"auto"}), _POSITIVE],
    "trajectory_dir": [str, PathLike, None],
    "compile": ["boolean"],
    "n_threads": [StrOptions({"auto"}), _POSITIVE, None],
    "train_split": [callable, None],
    "warm_start": ["boolean"],
    "stop_on_interrupt": ["boolean"],
    "freeze_pretrained": ["boolean"],
    "verbose": [Count(0), "boolean"],
    "classes": ["array-like", None],
    "predict_nonlinearity": [StrOptions({"auto"}), callable, None],
    "iterator_train": [callable],
    "iterator_valid": [callable],
    "dataset": [callable],
}


_OF_CLASSIFIERS = {"criterion": [StrOptions({"auto"}), nn.Module, callable]}


def check_parameters(net: InfluenceNet) -> None:
    """Check the values of the estimator's own parameters."""
    constraints = _CONSTRAINTS | (_OF_CLASSIFIERS if is_classifier(net) else {})
    parameters = {k: v for k, v in vars(net).items() if k in constraints}
    _check_optimizer(net.optimizer)
    validate_parameter_constraints(constraints, parameters, type(net).__name__)
    check_device(net.device)
    _check_default_dtype(net)
    _check_lr(net.lr)
    if net.trajectory_dir is not None:
        check_path("trajectory_dir", net.trajectory_dir, otherwise=_IN_MEMORY)
    _check_class_weight(getattr(net, "class_weight", None))
    if net.record is not None and hasattr(net, "accelerator"):
        raise ValueError(
            "Accelerate changes how a step is computed, and it cannot be recorded. "
            "Use record=None to train without influence."
        )
    net._check_components()


def _check_optimizer(optimizer: object) -> None:
    """Say which class a name may mean."""
    if not isinstance(optimizer, str):
        return
    known = {name.lower(): name for name in SUPPORTED_OPTIMIZERS}
    (name,) = get_close_matches(optimizer.lower(), known, 1) or ["sgd"]
    raise ValueError(
        "`optimizer` must be a class of optimizers, not its name, got "
        f"{optimizer!r}. Use optimizer=torch.optim.{known[name]}."
    )


def _check_default_dtype(net: InfluenceNet) -> None:
    """Refuse to make a module in a dtype that was set for this process alone."""
    made = callable(net.module) and not isinstance(net.module, nn.Module)
    default = torch.get_default_dtype()
    if made and net.dtype == "auto" and default is not torch.float32:
        raise ValueError(
            "`dtype` must be 'float32' or 'float64' while torch's default dtype is "
            f"{default}, got 'auto': a module that is made here would have that dtype, "
            "and one made in another process not. Set `dtype`, or give an instance as "
            "`module`, which keeps its own."
        )


def _check_lr(lr: object) -> None:
    """Refuse a learning rate in a tensor that is no such number."""
    if not isinstance(lr, torch.Tensor):
        return
    odd = lr.dtype.is_complex or lr.dtype == torch.bool
    single = lr.numel() == 1 and not odd
    if not single or not 0 <= float(lr) < math.inf:
        raise ValueError(
            "`lr`, a tensor, must hold one finite number of at least 0, got "
            f"{lr!r:.200}. Use `optimizer__param_groups` for several learning rates."
        )


def _check_class_weight(weights: Any) -> None:
    """Refuse weights of classes that are none."""
    if not isinstance(weights, Mapping):
        return
    for label, weight in weights.items():
        if not is_real(weight) or not 0 <= weight < math.inf:
            raise ValueError(
                "`class_weight` must give each class a finite number of at least 0, "
                f"got {weight!r} for class {label!r}."
            )


def check_resume(net: InfluenceNet, resume: bool, start: bool) -> None:
    """Refuse `resume` where there can be no run to resume."""
    if not check_boolean("resume", resume):
        return
    if net.trajectory_dir is None or net.record is None:
        raise ValueError(
            "`resume` needs a run that is recorded on disk, got trajectory_dir="
            f"{net.trajectory_dir!r} and record={net.record!r}. Set `trajectory_dir` "
            "to the folder of the run, and `record` as it was."
        )
    if not start:
        raise ValueError(
            "`resume` must be False where training continues from a fitted model "
            "(warm_start=True), got True."
        )
