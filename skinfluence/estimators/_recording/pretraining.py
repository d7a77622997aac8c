"""Starting from another estimator's final parameters: `pretrained`."""

from typing import Any

import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter, is_lazy

from ...exceptions import SkinfluenceError
from ...trajectory import parameters_digest
from .._net import InfluenceNet
from .._replica import retraceable


def check_pretrained(net: Any) -> None:
    """Refuse what nothing can be taken over from, or no way leads back into."""
    if net.pretrained is None:
        return
    seen, source = [net], net.pretrained
    if not isinstance(source, InfluenceNet):
        raise TypeError(
            "`pretrained` must be a fitted SGDInfluenceClassifier or "
            f"SGDInfluenceRegressor, or None, got {source!r:.200}."
        )
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


def start_from_pretrained(net: Any) -> None:
    """Let an initialized net begin with what its pretrained estimator has learned."""
    net.__dict__.pop("pretrained_parameters_", None)
    if net.pretrained is not None:
        check_pretrained(net)
        net.pretrained_parameters_ = take_over(net, net.pretrained)
        if net.freeze_pretrained:
            freeze(net, net.pretrained_parameters_)


def digest_of(pretrained: Any) -> Any:
    """Return numbers by which different starts are told apart; None for no start."""
    if pretrained is None:
        return None
    return [
        (name, parameters_digest(tensor))
        for name, tensor in _tensors(pretrained).items()
    ]


def take_over(net: Any, source: Any) -> list[str]:
    """Copy parameters and buffers of the same name and shape; return the names.

    The names are those of the parameters.
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
        for own, theirs in pairs.values():
            own.copy_(theirs)
    return names


def shared_tensors(net: Any, source: Any) -> dict[str, tuple[Tensor, Tensor]]:
    """Return parameters and buffers of the same name and shape in two nets' modules."""
    own, theirs = _tensors(net), _tensors(source, remove_duplicate=False)
    return {
        name: (tensor, theirs[name])
        for name, tensor in own.items()
        if name in theirs and theirs[name].shape == tensor.shape
    }


def freeze(net: Any, names: list[str]) -> None:
    """Train the other parameters only."""
    parameters = dict(_module(net).named_parameters())
    if len(names) == len(parameters):
        raise ValueError(
            "`freeze_pretrained` must leave something to train, but every parameter of "
            "the module was taken over. Use freeze_pretrained=False, or a module with "
            "a new last layer."
        )
    for name in names:
        parameters[name].requires_grad_(False)


def _module(net: Any) -> nn.Module:
    # What torch.compile wraps, which it does where nothing is recorded.
    return getattr(net.module_, "_orig_mod", net.module_)


def _tensors(net: Any, **options: Any) -> dict[str, Tensor]:
    """Return the module's parameters and buffers by name."""
    module = _module(net)
    parameters = dict(module.named_parameters(**options))
    return {
        k: v
        for k, v in {**parameters, **dict(module.named_buffers(**options))}.items()
        if not is_lazy(v)
    }


def _described(net: Any) -> str:
    shapes = {
        name: "(not initialized)"
        if isinstance(parameter, UninitializedParameter)
        else tuple(parameter.shape)
        for name, parameter in _module(net).named_parameters()
    }
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())
