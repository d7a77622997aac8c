"""Copies of modules, and what must not be lost in them."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

T = TypeVar("T")


class Detaching(TorchFunctionMode):
    """Has deep copies made of tensors without the graph that computed them.

    torch refuses to copy them otherwise: modules keep them in attributes, such as a
    hidden state, attention maps, or a weight made of others.
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
            if not tensor.is_leaf:
                return tensor.detach().clone()
        return func(*args, **(kwargs or {}))


def deep_copy(value: T) -> T:
    """Return a deep copy, in which computed tensors are constants."""
    with Detaching():
        return copy.deepcopy(value)


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
