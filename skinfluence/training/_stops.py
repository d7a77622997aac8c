"""Where a forward pass may stop a gradient, whether or not it does on these values."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from ._graph import passes_code
from ._record import StepRecord

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
    Tensor.__complex__,
    Tensor.__deepcopy__,
    Tensor.new_tensor,
    torch.tensor,
    torch.asarray,
    torch.autograd.grad,  # without a graph of it
    Tensor.register_hook,
}

# What tells Python of values, by a number or a shape: for others it may do otherwise.
_SPECIAL = ("bool", "int", "float", "complex", "index", "array", "contains")
_NAMES = {"item", "tolist", "numpy", "allclose", "argwhere", "bincount", "equal"}
_NAMES |= {"is_nonzero", "masked_select", "nonzero", "repeat_interleave", "unique"}
_TELLING: set[Any] = {
    getattr(home, name)
    for home in (torch, Tensor)
    for name in (*_NAMES, *(f"__{name}__" for name in _SPECIAL))
    if hasattr(home, name)
}


class StopsSeen(TorchFunctionMode):
    """Notes whether anything within it may stop a gradient.

    Attributes
    ----------
    any : bool
        Whether something was given a tensor with a gradient and may have used its
        values as constants: a `detach`, `data`, numbers taken from it, or operations
        under ``torch.no_grad()``.
    branches : bool
        Whether Python was told of values, and may do something else for others.
    """

    def __init__(self) -> None:
        super().__init__()
        self.any = self.branches = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        self.branches |= _tells(func, args)
        # A gradient is given before the call: `detach_` takes it away.
        asked = not self.any and (func in _STOPPING or not torch.is_grad_enabled())
        given = asked and _any_tensor((args, kwargs), lambda t: t.requires_grad)
        found = func(*args, **kwargs)
        # Names, shapes and masks are no values to differentiate.
        if given and (func in _STOPPING or _any_tensor(found, _has_values)):
            self.any = True
        return found


class StoppingSteps:
    """Finds the steps of a run that may stop the gradient of some values.

    To look at every call takes a tenth of a small network's step. Steps of one kind
    make the same calls, unless Python is told of values: then all are looked at.

    Attributes
    ----------
    found : set of int
        Numbers of the steps.
    """

    def __init__(self) -> None:
        self.found: set[int] = set()
        self._stopping: dict[object, bool] = {}  # by the kind of step
        self._coded: dict[tuple[int, ...], bool] = {}  # by the graphs of the losses
        self._branches = False
        self._seen: StopsSeen | None = None  # of the step in hand

    def watch(self, step: StepRecord) -> AbstractContextManager[object]:
        """Return what to compute the step's losses in."""
        known = not self._branches and _kind(step) in self._stopping
        self._seen = None if known else StopsSeen()
        return self._seen or nullcontext()

    def note(self, step: StepRecord, graphs: tuple[int, ...], losses: Tensor) -> None:
        """Note the step just watched, which has given these losses."""
        seen, kind = self._seen, _kind(step)
        if graphs not in self._coded:
            self._coded[graphs] = passes_code(losses)
            if seen is None:  # it did something else than those of its kind
                self._branches = True
                self.found.add(step.step)
        if seen is not None:
            self._stopping[kind] = seen.any
            self._branches |= seen.branches
        if self._stopping[kind] or self._coded[graphs]:
            self.found.add(step.step)


def _kind(step: StepRecord) -> object:
    return step.active, len(step.rows), step.sizes


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


def _tells(func: Any, args: Sequence[Any]) -> bool:
    if func is Tensor.__getitem__:
        return _any_tensor(args[1:], lambda t: t.dtype in (torch.bool, torch.uint8))
    return func in _TELLING or (func is torch.where and len(args) == 1)


def _has_values(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _any_tensor(tree: Any, holds: Callable[[Tensor], bool]) -> bool:
    leaves = pytree.tree_leaves(tree)
    return any(isinstance(leaf, Tensor) and holds(leaf) for leaf in leaves)
