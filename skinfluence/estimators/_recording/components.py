"""The net's module and criterion, and the losses of samples."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from skorch.utils import to_tensor
from torch import Tensor, nn

from ...exceptions import UnsupportedCriterionError
from .._copies import check_scripted, deep_copy
from .._modules import BUILT_IN, floating_dtype
from .._net import InfluenceNet
from .._typing import Device
from .._validation import DTYPES


def make_module(net: InfluenceNet, by_skorch: Callable[[], object]) -> None:
    """Make the module; an instance is copied, so that every fit starts from it."""
    kwargs = net.get_params_for("module")
    if isinstance(net.module, str):
        net.module_ = _built_in_module(net, net.module, kwargs)
    elif isinstance(net.module, nn.Module) and not kwargs:
        check_scripted([net.module])
        net.module_ = deep_copy(net.module)
    else:
        by_skorch()
    if net.dtype != "auto":
        _convert(net.module_, DTYPES[net.dtype])
    net.dtype_ = floating_dtype(net.module_)


def _convert(module: nn.Module, dtype: torch.dtype) -> None:
    """Give a module a precision. `module.to` would make complex buffers real."""

    def converted(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(dtype.to_complex())
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    module._apply(converted)


def _built_in_module(net: InfluenceNet, name: str, kwargs: dict[str, Any]) -> nn.Module:
    if not hasattr(net, "n_features_in_"):
        raise ValueError(
            f"The built-in module {name!r} takes its size from the data: "
            "call fit instead of initialize."
        )
    with _default_dtype(torch.float32):
        module = BUILT_IN[name](net.n_features_in_, net.n_outputs_, **kwargs)
    dtype = getattr(net, "dtype_", None)
    if net.run_ is not None:
        dtype = getattr(torch, net.run_.data.X.dtype.name)
    return module.to(dtype)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make tensors of this dtype, so that the same numbers are drawn whatever it is."""
    own = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(own)


def make_criterion(net: InfluenceNet, by_skorch: Callable[[], object]) -> None:
    """Make the criterion, with one loss for each sample."""
    kwargs = net.get_params_for("criterion")
    if isinstance(net.criterion, nn.Module) and not kwargs:
        net.criterion_ = deep_copy(net.criterion)
    else:
        by_skorch()
    criterion = net.criterion_
    # "batchmean" sums a sample's losses, "mean" takes their mean.
    reduction = getattr(criterion, "reduction", None)
    if reduction == "sum":
        raise UnsupportedCriterionError(
            "`criterion` must have reduction 'mean' or 'none', got 'sum': a step "
            "takes the mean over its batch. Scale `lr` instead."
        )
    net.sums_outputs_ = reduction == "batchmean"
    if reduction is not None:
        criterion.reduction = "none"


def cast(net: InfluenceNet, x: object) -> Any:
    """Move a batch to the module's device, its floating-point inputs to its dtype."""
    if isinstance(x, Mapping):
        return {name: cast(net, value) for name, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [cast(net, value) for value in x]
    if not isinstance(x, Tensor):
        return x
    return x.to(net.device, net.dtype_ if x.is_floating_point() else None)


def targets_like(outputs: object, targets: object, device: Device) -> Any:
    """Give targets the outputs' shape and dtype where that keeps their values."""
    if isinstance(targets, Tensor):
        targets = targets.to(device)  # skorch's own way takes ten times as long
    else:
        targets = to_tensor(targets, device=device)
    if isinstance(outputs, Tensor) and isinstance(targets, Tensor):
        return _like_outputs(outputs, targets)
    return targets


def losses_by_sample(net: InfluenceNet, losses: Tensor, n_samples: int) -> Tensor:
    """Reduce what the criterion returned to one loss for each sample, (batch,)."""
    if losses.dim() == 0 or len(losses) != n_samples:
        raise UnsupportedCriterionError(
            "`criterion` must give one loss for each sample (as torch's criteria "
            f"do with reduction='none'): got shape {tuple(losses.shape)} for "
            f"{n_samples} samples from {type(net.criterion_).__name__}."
        )
    if losses.dim() == 1:
        return losses
    losses = losses.flatten(1)
    return losses.sum(1) if net.sums_outputs_ else losses.mean(1)


def _like_outputs(y_pred: Tensor, y_true: Tensor) -> Tensor:
    differ = y_true.shape != y_pred.shape and y_true.numel() == y_pred.numel()
    if differ and _squeezed(y_true) == _squeezed(y_pred):
        # (n,) against (n, 1): a criterion would broadcast them to (n, n).
        y_true = y_true.reshape(y_pred.shape)
    if y_true.is_floating_point() or y_true.shape == y_pred.shape:
        y_true = y_true.to(y_pred.dtype)
    return y_true


def _squeezed(tensor: Tensor) -> list[int]:
    return [size for size in tensor.shape if size != 1]
