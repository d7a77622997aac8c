"""Copies of modules, and what must not be lost in them."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer
from torch.overrides import TorchFunctionMode

T = TypeVar("T")


class Detaching(TorchFunctionMode):
    """Has deep copies made of tensors without the graph that computed them.

    torch refuses to copy them otherwise: modules keep them in attributes, such as a
    hidden state, attention maps, or a weight made of others; nor can it copy the
    buffers of lazy modules.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.__deepcopy__:
            tensor, _ = args
            if isinstance(tensor, UninitializedBuffer):
                kind: Any = type(tensor)
                return kind(device=tensor.device, dtype=tensor.dtype)
            if not tensor.is_leaf:
                return tensor.detach().clone()
        return func(*args, **(kwargs or {}))


def deep_copy(value: T) -> T:
    """Return a deep copy, in which computed tensors are constants.

    Raises
    ------
    TypeError
        If there is something in it that cannot be copied.
    """
    try:
        with Detaching():
            return copy.deepcopy(value)
    except Exception as error:
        if place := _uncopied(value):
            raise TypeError(
                f"The module must be one that copy.deepcopy copies, but {place} cannot "
                f"be copied ({error}). Training is repeated on copies: make such an "
                "object (a lock, an open file, a connection) where it is used, or "
                "leave it out of what the class's `__getstate__` returns."
            ) from error
        raise


def _uncopied(value: object) -> str | None:
    """Return the name of what cannot be copied among the attributes of modules."""
    if isinstance(value, Mapping):
        return next(filter(None, map(_uncopied, value.values())), None)
    if not isinstance(value, nn.Module):
        return None
    for child in value.children():
        if found := _uncopied(child):
            return found
    for name, attribute in vars(value).items():
        if not name.startswith("_") and not _copies(attribute):
            return f"the attribute `{name}` of {type(value).__name__}"
    return None if _copies(value) else type(value).__name__


def _copies(value: object) -> bool:
    try:
        with Detaching():
            copy.deepcopy(value)
    except Exception:
        return False
    return True


def check_scripted(parts: Iterable[object]) -> None:
    """Refuse TorchScript, whose copies share no parameter with their optimizer's."""
    modules = (
        m for part in parts if isinstance(part, nn.Module) for m in part.modules()
    )
    if any(isinstance(module, torch.jit.ScriptModule) for module in modules):
        raise TypeError(
            "The module must hold no TorchScript (torch.jit.script, torch.jit.trace): "
            "torch does not copy it together with its optimizer, and training is "
            "repeated on copies. Use the module that was compiled."
        )


def check_hooks(parts: Iterable[object]) -> None:
    """Refuse modules with hooks on their parameters, which copies lack."""
    for module in parts:
        own = module.named_parameters() if isinstance(module, nn.Module) else ()
        for name, parameter in own:
            if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
                raise TypeError(
                    f"The parameter `{name}` of {type(module).__name__} must have no "
                    "hook: copies of the module lack it, such as the one that is "
                    "trained or on which training is repeated. Remove the hook; to "
                    "clip gradients use skorch's GradientNormClipping callback."
                )
