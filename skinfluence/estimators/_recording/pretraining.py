"""Starting from the final parameters of another estimator: `pretrained`."""

import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter, is_lazy

from ...exceptions import SkinfluenceError
from ...trajectory import parameters_digest
from .._net import InfluenceNet
from .._trained_on import retraceable


def check_pretrained(net: InfluenceNet) -> None:
    """Refuse a `pretrained` that cannot be started from, or not be retraced."""
    source: object = net.pretrained
    if not isinstance(source, InfluenceNet):
        raise TypeError(
            "`pretrained` must be a fitted SGDInfluenceClassifier or "
            f"SGDInfluenceRegressor, or None, got {source!r:.200}."
        )
    seen: list[object] = [net]
    while source is not None:
        if any(source is other for other in seen):
            raise ValueError(
                "`pretrained` must be another estimator, got one that starts from the "
                "estimator itself. Give a copy of it (copy.deepcopy)."
            )
        seen.append(source)
        source = getattr(source, "pretrained", None)
    try:
        retraceable(net.pretrained)
    except (NotFittedError, SkinfluenceError) as error:
        raise type(error)(
            f"`pretrained` must be fitted and its run recorded: {error}"
        ) from error


def start_from_pretrained(net: InfluenceNet) -> None:
    """Start an initialized net from the parameters of its pretrained estimator."""
    check_pretrained(net)
    net.pretrained_parameters_ = take_over(net, net.pretrained)
    if net.freeze_pretrained:
        freeze(net, net.pretrained_parameters_)


def digest_of(pretrained: InfluenceNet | None) -> list[tuple[str, int]] | None:
    """Return digests of the tensors that training starts from; None if from none."""
    if pretrained is None:
        return None
    return [
        (name, parameters_digest(tensor))
        for name, tensor in _tensors(pretrained).items()
    ]


def take_over(net: InfluenceNet, source: InfluenceNet) -> list[str]:
    """Copy parameters and buffers of the same name and shape.

    Returns the names of the parameters among them.
    """
    pairs = shared_tensors(net, source)
    parameters = dict(_module(net).named_parameters())
    names = [name for name in pairs if name in parameters]
    if not names:
        raise ValueError(
            "`pretrained` must share a parameter with the module, by name and shape. "
            f"The module has {_described(net)}; the pretrained one has "
            f"{_described(source)}."
        )
    with torch.no_grad():
        for tensor, pretrained in pairs.values():
            tensor.copy_(pretrained)
    return names


def shared_tensors(
    net: InfluenceNet, source: InfluenceNet
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return parameters and buffers of the same name and shape in two nets' modules."""
    tensors, others = _tensors(net), _tensors(source, duplicates=True)
    return {
        name: (tensor, others[name])
        for name, tensor in tensors.items()
        if name in others and others[name].shape == tensor.shape
    }


def freeze(net: InfluenceNet, names: list[str]) -> None:
    """Freeze these parameters, so that only the others are trained."""
    parameters = dict(_module(net).named_parameters())
    if len(names) == len(parameters):
        raise ValueError(
            "`freeze_pretrained` must leave something to train, but every parameter of "
            "the module was taken over. Use freeze_pretrained=False, or a module with "
            "a new last layer."
        )
    for name in names:
        parameters[name].requires_grad_(False)


def _module(net: InfluenceNet) -> nn.Module:
    # torch.compile wraps the module where nothing is recorded.
    return getattr(net.module_, "_orig_mod", net.module_)


def _tensors(net: InfluenceNet, *, duplicates: bool = False) -> dict[str, Tensor]:
    """Return the module's parameters and buffers by name."""
    module = _module(net)
    distinct = not duplicates
    parameters = dict(module.named_parameters(remove_duplicate=distinct))
    buffers = dict(module.named_buffers(remove_duplicate=distinct))
    return {k: v for k, v in {**parameters, **buffers}.items() if not is_lazy(v)}


def _described(net: InfluenceNet) -> str:
    shapes = {
        name: "(not initialized)"
        if isinstance(parameter, UninitializedParameter)
        else tuple(parameter.shape)
        for name, parameter in _module(net).named_parameters()
    }
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())
