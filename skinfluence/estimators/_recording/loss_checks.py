"""Whether a module's outputs, the targets and the criterion fit each other."""

import inspect
from typing import Any

import torch
from sklearn.base import is_classifier
from torch import Tensor, nn

from ..._warnings import warn_caller
from ...exceptions import (
    SkinfluenceError,
    UnsupportedCriterionError,
    UnsupportedModuleError,
)
from .._criteria import SmoothHinge
from .._losses import criterion_takes, is_known, targets_like
from .._net import InfluenceNet

# One loss for each output and target: with other shapes torch repeats one of them.
_ELEMENTWISE = (
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.HuberLoss,
    nn.L1Loss,
    nn.MSELoss,
    nn.SmoothL1Loss,
)
_NAMED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
# They take class numbers, and an output for each class.
_BY_CLASS = (nn.CrossEntropyLoss, nn.MultiMarginLoss, nn.NLLLoss, SmoothHinge)
_BINARY = (nn.BCELoss, nn.BCEWithLogitsLoss)


def check_losses(
    net: InfluenceNet, outputs: Any, targets: Any, inputs: Any, many: Any
) -> None:
    """Refuse outputs and targets that the criterion does not take, or for another.

    Parameters
    ----------
    net : InfluenceNet
        An initialized net whose losses are its criterion's.
    outputs, targets, inputs : object
        Those of some rows of the training data.
    many : object
        Further targets, to see the classes in.
    """
    _check_arguments(net)
    first = criterion_takes(net.criterion_, outputs)
    if isinstance(first, Tensor):
        if is_classifier(net):
            _check_classes(net, first, many)
        _check_shapes(net, first, targets_like(first, targets, net.device))
    try:
        net.get_losses(outputs, targets, X=inputs)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        # What a criterion of the user's own raises says best what is wrong with it.
        if isinstance(error, SkinfluenceError) or not is_known(net.criterion_):
            raise
        raise UnsupportedCriterionError(
            f"`criterion` must take the module's outputs, {_described(first)}, and the "
            f"targets, {_described(targets)}, but {_name(net)} does not: {error} "
            "Choose another criterion, or override `get_losses`."
        ) from error


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"of shape {tuple(value.shape)} and {value.dtype}"


def _check_shapes(net: InfluenceNet, first: Tensor, targets: Any) -> None:
    elementwise = type(net.criterion_) in _ELEMENTWISE and isinstance(targets, Tensor)
    if elementwise and targets.shape != first.shape:
        raise UnsupportedCriterionError(
            f"{_name(net)} compares each output with a target of its own: outputs and "
            "targets must have the same shape but for axes of size 1, got "
            f"{tuple(first.shape)} and {tuple(targets.shape)}. Let the module return "
            "outputs of the targets' shape."
        )


def _check_arguments(net: InfluenceNet) -> None:
    """Refuse criteria that need more than outputs and targets."""
    if not isinstance(net.criterion_, nn.Module):
        return
    arguments = inspect.signature(net.criterion_.forward).parameters.values()
    needed = [a.name for a in arguments if a.default is a.empty and a.kind in _NAMED]
    if len(needed) > 2:
        raise UnsupportedCriterionError(
            f"`criterion` must take outputs and targets alone, but {_name(net)} takes "
            f"{', '.join(needed)}. Override `get_losses`, which returns one loss for "
            "each sample and is given all that the module returns."
        )


def _check_classes(net: InfluenceNet, outputs: Tensor, targets: Any) -> None:
    if isinstance(net.criterion_, nn.NLLLoss) and bool((outputs < 0).any()):
        raise UnsupportedCriterionError(
            f"`criterion` {_name(net)} takes the logarithm of the module's outputs, "
            "which must be probabilities, got values below 0. Use "
            "criterion=nn.CrossEntropyLoss: for logits it is the log loss, and for "
            "log-probabilities, as of LogSoftmax, it is the same loss as NLLLoss."
        )
    if isinstance(net.criterion_, _BY_CLASS) and outputs.dim() == 2:
        _check_outputs(net, outputs.shape[1], targets)
    if isinstance(net.criterion_, _BINARY):
        count = _n_classes(net, targets)
        single = isinstance(targets, Tensor) and targets.numel() == len(targets)
        if count > 2 and single:
            raise UnsupportedCriterionError(
                f"`criterion` {_name(net)} must have two classes, got {count}. "
                "Use criterion=nn.CrossEntropyLoss, with an output for each class. "
                "Several labels for a sample are an indicator matrix, y of "
                "SGDInfluenceRegressor."
            )


def _check_outputs(net: InfluenceNet, n_outputs: int, targets: Any) -> None:
    """Refuse fewer outputs than classes, and warn of more.

    A Dataset may have more classes than its first targets show.
    """
    known = getattr(net, "classes_", None) is not None
    numbered = isinstance(targets, Tensor) and not targets.is_floating_point()
    if numbered:
        _check_numbers(net, targets)
    count = _n_classes(net, targets) if known or numbered else n_outputs
    if n_outputs == count or (n_outputs > count and not known):
        return
    if n_outputs > count:
        # As in a fold of a cross-validation that lacks a class.
        warn_caller(
            f"`module` returns {n_outputs} outputs for {count} classes: the others are "
            "trained never to be predicted. Change its last layer, or give all labels "
            "that may occur as `classes`.",
            UserWarning,
        )
        return
    raise UnsupportedModuleError(
        f"`module` must return an output for each of the {count} classes with "
        f"{_name(net)}, got {n_outputs}. Change its last layer, or for one output and "
        "two classes use criterion=nn.BCEWithLogitsLoss."
    )


def _check_numbers(net: InfluenceNet, targets: Tensor) -> None:
    """Refuse what is no class number, but for the one that a criterion leaves out."""
    left_out = getattr(net.criterion_, "ignore_index", 0)
    low = targets[(targets < 0) & (targets != left_out)]
    if len(low):
        raise ValueError(
            "The targets of a Dataset must be class numbers, from 0 on, got "
            f"{low[0].item()} for {_name(net)}. Give `classes` if they are labels."
        )


def _n_classes(net: InfluenceNet, targets: Any) -> int:
    """Return the number of classes: for a Dataset, of those that its targets show."""
    classes = getattr(net, "classes_", None)
    if classes is not None:
        return len(classes)
    return int(torch.as_tensor(targets).max()) + 1


def warn_of_ignored(net: InfluenceNet, targets: Any) -> None:
    """Warn where torch's mean over a batch would leave out some targets."""
    ignored = getattr(net.criterion_, "ignore_index", None)
    if ignored is None or not isinstance(targets, Tensor):
        return
    if not targets.is_floating_point() and bool((targets == ignored).any()):
        warn_caller(
            f"Some targets are {_name(net)}'s ignore_index ({ignored}). Their losses "
            "are 0, and are counted in the mean over the batch: the divisor is the "
            "number of all samples (and of all targets of a sample), where torch's "
            "reduction='mean' would divide by the number of the others. See "
            '"Loss functions" in the guide to the estimators.',
            UserWarning,
        )


def _name(net: InfluenceNet) -> str:
    return type(net.criterion_).__name__
