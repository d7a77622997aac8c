"""What is refused of an initialized net, before its first step."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from skorch.callbacks import LRScheduler
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ...exceptions import UnsupportedModuleError, UnsupportedOptimizerError
from ...training import moment_names
from .._components import check_options
from .._net import InfluenceNet
from .._training_data import TrainingData
from .first_outputs import check_first_outputs
from .hooks import RecordingMixin


def check_trainable(net: InfluenceNet, data: TrainingData) -> None:
    """Refuse what cannot be trained, or not be recorded.

    Parameters
    ----------
    net : InfluenceNet
        The net, initialized.
    data : TrainingData
        What it is to be trained on.
    """
    _check_monitors(net)
    _check_overridden(net)
    if net.record is not None:
        _check_tensors(net)
    check_options(_parts(net))
    _check_optimizers(net)
    check_first_outputs(net, data)


def _check_overridden(net: InfluenceNet) -> None:
    """Refuse methods of a subclass that change what is recorded."""
    name = type(net).__name__
    for method in ("get_loss", "train_step_single"):
        if getattr(type(net), method) is not getattr(RecordingMixin, method):
            raise TypeError(
                f"{name} must not override `{method}`: the influence would be that of "
                "another loss. Override `get_losses`, which returns one loss for each "
                "sample."
            )
    if net.record is None:
        return
    for method in ("train_step", "_step_optimizer", "_zero_grad_optimizer"):
        if getattr(type(net), method) is not getattr(RecordingMixin, method):
            raise TypeError(
                f"{name} must not override `{method}`: what it does is not recorded. "
                "Override `get_losses` or `infer`, use a callback, or "
                "`accumulate_steps` to accumulate gradients; or train with "
                "record=None, without influence."
            )


def _check_optimizers(net: InfluenceNet) -> None:
    """Refuse optimizers whose steps cannot be recorded."""
    optimizers = [getattr(net, f"{name}_") for name in net._optimizers]
    if net.accumulate_steps > 1 and any(
        isinstance(each, torch.optim.LBFGS) for each in optimizers
    ):
        raise UnsupportedOptimizerError(
            "`accumulate_steps` must be 1 for LBFGS, which evaluates a batch "
            f"several times in a step, got {net.accumulate_steps}."
        )
    if net.record is None:
        return
    if len(optimizers) != 1:
        raise ValueError(
            f"The net must have one optimizer, got {net._optimizers}. Use "
            "record=None to train without influence."
        )
    moment_names(net.optimizer_)


def _parts(net: InfluenceNet) -> list[tuple[str, object, Mapping[str, Any]]]:
    """Return the optimizers and criteria with their options, by name."""
    optimizers = [
        (name, optimizer, group)
        for name in net._optimizers
        for optimizer in [getattr(net, f"{name}_")]
        for group in optimizer.param_groups
    ]
    criteria = [
        (name, criterion, {**vars(criterion), **criterion._buffers})
        for name in net._criteria
        for criterion in [getattr(net, f"{name}_")]
        if isinstance(criterion, nn.Module)
    ]
    return [*optimizers, *criteria]


def _check_monitors(net: InfluenceNet) -> None:
    """Refuse callbacks that monitor a validation score where there is none."""
    overridden = type(net).get_split_datasets is not RecordingMixin.get_split_datasets
    if net.train_split is not None or overridden:
        return
    scores = {
        getattr(callback, "name_", None) or callback.name
        for _, callback in net.callbacks_
        if getattr(callback, "on_train", True) is False
    }
    for kind, monitor in _monitors(net):
        # Checkpoint looks at whether a score is the best so far.
        if monitor.removesuffix("_best") in scores:
            raise ValueError(
                f"`train_split` must split off validation data for {kind}, which "
                f"monitors {monitor!r}, got None. Set it to skorch's ValidSplit(5), or "
                "monitor='train_loss'."
            )


def _monitors(net: InfluenceNet) -> Iterator[tuple[str, str]]:
    """Yield the callbacks' kinds and the scores that they monitor."""
    for _, callback in net.callbacks_:
        monitor = getattr(callback, "monitor", None)
        # Other schedules have a monitor too, but do not look at it.
        idle = isinstance(callback, LRScheduler) and (
            callback.policy_ is not ReduceLROnPlateau
        )
        if isinstance(monitor, str) and not idle:
            yield type(callback).__name__, monitor


def _check_tensors(net: InfluenceNet) -> None:
    """Refuse tensors that a state cannot hold, or a step not be differentiated in.

    The steps of several optimizers have no derivative in complex parameters.
    """
    for name, tensor in (*net.module_.named_parameters(), *net.module_.named_buffers()):
        if tensor.layout is not torch.strided:
            raise UnsupportedModuleError(
                f"Parameters and buffers must be dense, got {tensor.layout} for "
                f"`{name}`. Keep a constant matrix as a plain attribute, or use "
                "record=None to train without influence."
            )
    for name, parameter in net.module_.named_parameters():
        if parameter.is_complex() and parameter.requires_grad:
            raise UnsupportedModuleError(
                f"The trained parameters must be real, got {parameter.dtype} for "
                f"`{name}`. Make it of a last axis of two (torch.view_as_real), which "
                "the module turns into complex numbers (torch.view_as_complex), or use "
                "record=None to train without influence."
            )
