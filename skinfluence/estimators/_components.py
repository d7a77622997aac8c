"""Parameters of the components, ``module__x`` and the like, checked by their names."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import torch
from skorch.callbacks import Callback
from torch import nn

from .._numbers import check_finite
from ._criteria import kinds_of
from ._modules import BUILT_IN
from ._typing import MapDataset

# The components, and what they make.
MAKES: dict[str, tuple[Any, str]] = {
    "module": (nn.Module, "a torch.nn.Module"),
    "criterion": (Callable, "a criterion"),
    "optimizer": (torch.optim.Optimizer, "a torch.optim.Optimizer"),
    "iterator_train": (Iterable, "an iterable of batches"),
    "iterator_valid": (Iterable, "an iterable of batches"),
    "dataset": (MapDataset, "a map-style Dataset"),
}
# Given by the net: a built-in module's sizes, an optimizer's parameters, the data.
_GIVEN = {"optimizer": {"params"}, "dataset": {"X", "y"}}
_SIZES = {"n_features", "n_outputs"}
# torch takes a negative one for 0.
_RANGES = {
    "criterion__label_smoothing": (0, 1),
    "optimizer__dampening": (0, 1),
}
# Of a class or sample: below 0 its loss would be raised without end.
_NOT_NEGATIVE = ("criterion__weight", "criterion__pos_weight")


def check_names(net: Any, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that a component of the net does not take.

    Parameters
    ----------
    net : InfluenceNet
        The net.
    parameters : mapping of str to object
        Those to check, by name, and components that are to replace the net's.
    """
    for name in parameters:
        prefix, separator, rest = name.partition("__")
        if not separator:
            continue
        if prefix == "callbacks":
            _check_callback_name(net, name, rest.partition("__")[0])
        elif prefix == "compile":
            raise ValueError(
                f"`{name}` must not be given: it is for torch.compile, by which steps "
                "are not compiled. Use `compile` alone."
            )
        elif prefix in MAKES:
            component = parameters.get(prefix, getattr(net, prefix, None))
            _check_taken(name, rest, prefix, component)


def _check_taken(name: str, rest: str, prefix: str, component: Any) -> None:
    accepted = accepted_names(prefix, component)
    # skorch's ways to give groups of parameters options of their own.
    groups = prefix == "optimizer" and rest.partition("__")[0] == "param_groups"
    if accepted is None or rest in accepted or groups:
        return
    raise ValueError(
        f"`{name}` must be a parameter of {called(component)}, but it takes no "
        f"{rest!r}. {_nearest(rest, prefix, accepted)}"
    )


def _check_callback_name(net: Any, name: str, callback: str) -> None:
    # With "disable" there is none to be set.
    if net.callbacks == "disable":
        return
    known = [each for each, _ in net._uniquely_named_callbacks()]
    if callback not in known:
        raise ValueError(
            f"`{name}` must name one of the net's callbacks, got {callback!r}. "
            f"{_nearest(callback, 'callbacks', known)}"
        )


def accepted_names(prefix: str, component: Any) -> list[str] | None:
    """Return the names of the parameters that may be given; None if any may."""
    left_out = _GIVEN.get(prefix, set())
    if prefix == "criterion" and isinstance(component, str):
        # Which of them is chosen, the labels tell.
        each = (accepted_names(prefix, kind) or [] for kind in kinds_of(component))
        return [*dict.fromkeys(name for names in each for name in names)]
    if isinstance(component, str):
        component, left_out = BUILT_IN[component], _SIZES
    elif isinstance(component, nn.Module):
        component = type(component)  # skorch makes another one
    try:
        taken = inspect.signature(component).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(each.kind is each.VAR_KEYWORD for each in taken):
        return None
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [e.name for e in taken if e.kind in by_name and e.name not in left_out]


def _nearest(name: str, prefix: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    names = ", ".join(f"`{prefix}__{each}`" for each in near or known)
    if not names:
        return "It takes none."
    return f"Did you mean {names}?" if near else f"It takes {names}."


def called(component: Any) -> str:
    """Return a component's name, for messages."""
    if isinstance(component, str) and component in BUILT_IN:
        return f"the built-in module {component!r}"
    if isinstance(component, str):
        return f"{component!r}"
    named = component if hasattr(component, "__name__") else type(component)
    return str(named.__name__)


def check_callbacks(callbacks: Any) -> None:
    """Refuse what is no list of callbacks."""
    if callbacks is None or (isinstance(callbacks, str) and callbacks == "disable"):
        return
    if not isinstance(callbacks, list):
        raise TypeError(
            "`callbacks` must be a list of skorch callbacks, 'disable' or None, got "
            f"{callbacks!r}."
        )
    for place, entry in enumerate(callbacks):
        if not _is_callback(entry):
            raise TypeError(
                f"`callbacks` must hold skorch callbacks, or pairs of a name and a "
                f"callback, got {entry!r} at position {place}."
            )


def _is_callback(entry: Any) -> bool:
    if isinstance(entry, (tuple, list)):
        # In a pair, None stands for a callback that is left out.
        named = len(entry) == 2 and isinstance(entry[0], str)
        return named and (entry[1] is None or _is_callback(entry[1]))
    if isinstance(entry, type):
        return issubclass(entry, Callback)
    return hasattr(entry, "initialize") and hasattr(entry, "set_params")


def check_options(parts: Iterable[tuple[str, object, Mapping[str, Any]]]) -> None:
    """Refuse what is no finite number where one of torch's classes takes a number.

    torch checks few of them, and computes with NaN, with booleans, or fails later.
    They are looked at in what was made, whichever way they came into it.

    Parameters
    ----------
    parts : iterable of (str, Optimizer or Module, mapping of str to object)
        The components, what they made, and the options that it has now.
    """
    given = [
        (f"{name}__{each.name}", options[each.name], each.default)
        for name, part, options in parts
        for each in _parameters_in_torch(part)
        if each.name in options
    ]
    check_finite(given)
    for name, value, _ in given:
        if name in _RANGES and not _RANGES[name][0] <= value <= _RANGES[name][1]:
            low, high = _RANGES[name]
            raise ValueError(
                f"`{name}` must be from {low} to {high}, got {value!r:.200}."
            )
        weights = name in _NOT_NEGATIVE and isinstance(value, torch.Tensor)
        if weights and bool((value < 0).any()):
            raise ValueError(
                f"`{name}` must hold no negative weights, got {value!r:.200}."
            )


def _parameters_in_torch(part: object) -> Iterable[inspect.Parameter]:
    """Return the parameters of the class of torch's that something is of."""
    kinds = (kind for kind in type(part).__mro__ if kind.__module__[:6] == "torch.")
    return inspect.signature(next(kinds, object)).parameters.values()
