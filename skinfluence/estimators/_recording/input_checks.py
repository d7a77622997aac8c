"""Whether a module takes the inputs."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...exceptions import UnsupportedModuleError
from .._net import InfluenceNet, net_modules

# What torch raises for shapes, dtypes and places that do not fit. Not their subclasses:
# a lack of memory is no fault of the inputs.
_TORCHS = (RuntimeError, IndexError)


@contextmanager
def explaining_inputs(net: InfluenceNet, inputs: Any) -> Iterator[None]:
    """Say what a module was given, and which part of it failed, where torch does.

    Raises
    ------
    UnsupportedModuleError
        In the place of torch's error, which is its cause.
    """
    try:
        yield
    except _TORCHS as error:
        if type(error) not in _TORCHS:
            raise
        raise UnsupportedModuleError(
            f"`module` must take the inputs, {_described(inputs)}, but "
            f"{type(net.module_).__name__} does not{_where(net, error)}: "
            f"{str(error).rstrip('.')}. {_remedy(inputs)}"
        ) from error


def _described(inputs: Any) -> str:
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
