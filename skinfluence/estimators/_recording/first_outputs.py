"""Whether the module takes the inputs, and the criterion what it returns."""

import inspect
import traceback
from typing import Any

import numpy as np
import torch
from sklearn.base import is_classifier
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..._warnings import warn_caller
from ...exceptions import (
    SkinfluenceError,
    UnsupportedCriterionError,
    UnsupportedModuleError,
)
from ...training import seeded
from .._array_dataset import ArrayDataset
from .._criteria import BY_CLASS, ELEMENTWISE
from .._labels import is_multilabel
from .._losses import criterion_takes, is_known, targets_like
from .._net import InfluenceNet, net_modules
from .._training_data import TrainingData

_NAMED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BINARY = (nn.BCELoss, nn.BCEWithLogitsLoss)


# What torch raises for shapes, dtypes and places that do not fit. Not their subclasses:
# a lack of memory is no fault of the inputs.
_TORCHS = (RuntimeError, IndexError)


def first_outputs(net: InfluenceNet, data: TrainingData) -> tuple[Any, Any, Any]:
    """Return outputs, inputs and targets of the first rows.

    Raises
    ------
    UnsupportedModuleError
        In the place of torch's error, which is its cause, if the module does not take
        the inputs.
    """
    inputs, targets = net._fetcher(data)(torch.arange(min(2, len(data.dataset))))
    try:
        with torch.no_grad():
            return net.infer(inputs, **data.fit_params), inputs, targets
    except _TORCHS as error:
        if type(error) not in _TORCHS:
            raise
        raise UnsupportedModuleError(
            f"`module` must take the inputs, {_inputs(inputs)}, but "
            f"{type(net.module_).__name__} does not{_where(net, error)}: "
            f"{str(error).rstrip('.')}. {_remedy(inputs)}"
        ) from error


def check_first_outputs(net: InfluenceNet, data: TrainingData) -> None:
    """Refuse a module, a criterion or targets that do not fit each other.

    Parameters
    ----------
    net : InfluenceNet
        The net, initialized.
    data : TrainingData
        What it is to be trained on.
    """
    net._set_training(False)
    with torch.no_grad(), seeded(0, torch.device(net.device)):
        outputs, inputs, targets = first_outputs(net, data)
        if isinstance(net.criterion_, nn.Module):
            # Its class weights must have the dtype of the outputs.
            net.criterion_.to(getattr(outputs, "dtype", None))
        if type(net).get_losses is not InfluenceNet.get_losses:
            net.get_losses(outputs, targets, X=inputs)
            return
        many = _first_targets(net, data)
        _check_losses(net, outputs, targets, inputs, many)
        _warn_of_ignored(net, many)


def _first_targets(net: InfluenceNet, data: TrainingData) -> Any:
    """Return all targets of arrays, and a Dataset's first ones, to see the classes."""
    dataset, y = data.dataset, data.y
    if isinstance(dataset, ArrayDataset) and isinstance(y, np.ndarray):
        return torch.from_numpy(y) if y.dtype.kind in "iuf" else None
    return net._fetcher(data)(torch.arange(min(64, len(dataset))))[1]


def _check_losses(
    net: InfluenceNet, outputs: Any, targets: Any, inputs: Any, many: Any
) -> None:
    """Refuse outputs and targets that the criterion does not take, or for another."""
    _check_arguments(net)
    first = criterion_takes(net.criterion_, outputs)
    if isinstance(first, Tensor):
        like = targets_like(first, targets, net.device)
        if is_classifier(net):
            _check_classes(net, first, many)
        _check_shapes(net, first, like)
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
    if not isinstance(targets, Tensor):
        return
    elementwise = type(net.criterion_) in ELEMENTWISE or is_multilabel(net)
    # One of a user's own may compare several outputs with a number.
    elementwise |= isinstance(net.criterion_, ELEMENTWISE) and targets.dim() > 1
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
    if is_multilabel(net) and isinstance(net.criterion_, BY_CLASS):
        # It would take the indicators for probabilities of one label.
        raise UnsupportedCriterionError(
            "`criterion` must be one for several labels where y is an indicator "
            f"matrix, but the net was initialized with {_name(net)}. Call fit, which "
            "makes it anew."
        )
    if isinstance(net.criterion_, nn.NLLLoss) and bool((outputs < 0).any()):
        raise UnsupportedCriterionError(
            f"`criterion` {_name(net)} takes the logarithm of the module's outputs, "
            "which must be probabilities, got values below 0. Use "
            "criterion=nn.CrossEntropyLoss: for logits it is the log loss, and for "
            "log-probabilities, as of LogSoftmax, it is the same loss as NLLLoss."
        )
    if isinstance(net.criterion_, nn.CrossEntropyLoss):
        _check_probabilities(net, outputs, targets)
    if isinstance(net.criterion_, BY_CLASS) and outputs.dim() > 1:
        _check_outputs(net, outputs.shape[1], targets)
    if isinstance(net.criterion_, _BINARY):
        count = _n_classes(net, targets)
        single = isinstance(targets, Tensor) and targets.numel() == len(targets)
        if count > 2 and single:
            raise UnsupportedCriterionError(
                f"`criterion` {_name(net)} must have two classes, got {count}. "
                "Use criterion=nn.CrossEntropyLoss, with an output for each class. "
                "Several labels for a sample are an indicator matrix y."
            )


def _check_probabilities(net: InfluenceNet, outputs: Tensor, targets: Any) -> None:
    """Refuse labels in the outputs' shape, which would be taken for probabilities."""
    if not isinstance(targets, Tensor) or outputs.dim() < 2:
        return
    if targets.shape[1:] != outputs.shape[1:]:
        return
    sums = targets.double().sum(dim=1)
    soft = bool((targets >= 0).all()) and torch.allclose(
        sums, torch.ones_like(sums), atol=1e-3
    )
    # Of arrays these are indices; a Dataset may hold one-hot codes.
    indices = getattr(net, "encodes_labels_", False) and not targets.is_floating_point()
    if indices or not soft:
        raise UnsupportedCriterionError(
            f"`criterion` {_name(net)} takes targets of the outputs' shape, here "
            f"{tuple(outputs.shape)}, for the probabilities of the classes. Sequences "
            "of labels need outputs of shape (n, n_classes, length); for several "
            "labels of a sample use criterion=nn.BCEWithLogitsLoss."
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


def _warn_of_ignored(net: InfluenceNet, targets: Any) -> None:
    """Warn where torch's mean over a batch would leave out some targets."""
    ignored = getattr(net.criterion_, "ignore_index", None)
    if ignored is None or not isinstance(targets, Tensor):
        return
    if not targets.is_floating_point() and bool((targets == ignored).any()):
        warn_caller(
            f"Some targets are {_name(net)}'s ignore_index ({ignored}). A sample's "
            "loss is the mean over its other targets (0 if it has none), and that of a "
            "batch the mean over all its samples, where torch's reduction='mean' is "
            "the mean over all other targets of the batch. See "
            '"Loss functions" in the guide to the estimators.',
            UserWarning,
        )


def _name(net: InfluenceNet) -> str:
    return type(net.criterion_).__name__


def _inputs(inputs: Any) -> str:
    tensors = [t for t in pytree.tree_leaves(inputs) if isinstance(t, Tensor)]
    said = [f"of shape ({_axes(tensor)}) and {tensor.dtype}" for tensor in tensors]
    return " and ".join(said) or f"a {type(inputs).__name__}"


def _axes(tensor: Tensor) -> str:
    return ", ".join(["n", *map(str, tensor.shape[1:])])


def _where(net: InfluenceNet, error: BaseException) -> str:
    """Return the innermost part of the modules that was called, in words."""
    named = {part: name for m in net_modules(net) for name, part in m.named_modules()}
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    owners = [frame.f_locals.get("self") for frame in frames]
    called = [each for each in owners if isinstance(each, nn.Module) and each in named]
    if not called or not named[called[-1]]:
        return ""
    part = " ".join(repr(called[-1]).split())
    return f", in its part `{named[called[-1]]}`, {part:.100}"


def _remedy(inputs: Any) -> str:
    if isinstance(inputs, Tensor) and inputs.dim() == 2:
        n = inputs.shape[1]
        features = f"{n} feature{'s' * (n != 1)}"
        return (
            f"Make it for the {features} of X (module__name={n} passes an argument of "
            "that name to its `__init__`), or give X the shape and dtype that it takes."
        )
    return "Change the module, or give X the shape and dtype that it takes."
