"""Where a forward pass may stop a gradient, whether or not it does on these values."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from ._graph import passes_code

# What is given a tensor with a gradient and passes its values on without it, or changes
# the gradient itself. Comparisons are not among them: their slope is 0 in truth.
_STOPPING: set[Any] = {
    torch.detach,
    torch.detach_,
    Tensor.detach,
    Tensor.detach_,
    Tensor.data.__get__,  # type: ignore[attr-defined]
    Tensor.data.__set__,  # type: ignore[attr-defined]
    Tensor.item,
    Tensor.tolist,
    Tensor.numpy,
    Tensor.__array__,
    Tensor.__float__,
    Tensor.register_hook,
}


class StopsSeen(TorchFunctionMode):
    """Notes whether anything within it may stop a gradient.

    Attributes
    ----------
    any : bool
        Whether something was given a tensor with a gradient and may have used its
        values as constants: a `detach`, `data`, numbers taken from it, or operations
        under ``torch.no_grad()``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.any = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        # A gradient is given before the call: `detach_` takes it away.
        asked = not self.any and (func in _STOPPING or not torch.is_grad_enabled())
        given = asked and _any_tensor((args, kwargs), lambda t: t.requires_grad)
        found = func(*args, **kwargs)
        # Names, shapes and masks are no values to differentiate.
        if given and (func in _STOPPING or _any_tensor(found, _has_values)):
            self.any = True
        return found


def may_stop(function: Callable[[], Tensor]) -> bool:
    """Whether a function may stop the gradient of some values.

    Parameters
    ----------
    function : callable
        ``function()``, what is to be differentiated.

    Returns
    -------
    bool
        True as well where it stops none, such as by a `detach` for a log.
    """
    with StopsSeen() as seen:
        found = function()
    return seen.any or passes_code(found)


def _has_values(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _any_tensor(tree: Any, holds: Callable[[Tensor], bool]) -> bool:
    leaves = pytree.tree_leaves(tree)
    return any(isinstance(leaf, Tensor) and holds(leaf) for leaf in leaves)
