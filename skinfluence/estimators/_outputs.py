"""Which of the things that a module returns are its outputs."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

# Modules whose criteria take the outputs alone.
_OWN = {"torch", __name__.partition(".")[0]}


def outputs_of(returned: object) -> Any:
    """Return a module's outputs, among what it returned.

    Parameters
    ----------
    returned : Tensor, tuple, list, mapping or object
        What the module's ``forward`` returned.

    Returns
    -------
    Tensor
        The first of a tuple or list; the "logits" of a mapping, dataclass or other
        object, or its only value.

    Raises
    ------
    TypeError
        If there are several values, and none of the name "logits".

    Examples
    --------
    >>> from skinfluence.estimators import outputs_of
    >>> outputs_of({"loss": 0.5, "logits": [0.0, 1.0]})
    [0.0, 1.0]
    """
    if isinstance(returned, Tensor):
        return returned
    if isinstance(returned, (tuple, list)):
        return returned[0]
    values = _named(returned)
    if "logits" in values:
        return values["logits"]
    if len(values) == 1:
        return next(iter(values.values()))
    raise TypeError(
        f"A module that returns a {type(returned).__name__} must name its outputs "
        f"'logits', got {list(values)}. Override `get_losses` to use the others, and "
        "return the outputs as 'logits'."
    )


def _named(returned: object) -> Mapping[str, Any]:
    """Return what a module returned by its names."""
    if isinstance(returned, Mapping):
        return returned
    if hasattr(returned, "logits"):
        return {"logits": returned.logits}
    return getattr(returned, "__dict__", {})


def movable(returned: object) -> Any:
    """Return what skorch can move to a device, of what a module returned.

    Mappings may hold others beside the outputs, such as a language model's cache.
    """
    if isinstance(returned, (Tensor, tuple, list)):
        return returned
    values = _named(returned)
    found = isinstance(returned, Mapping) or "logits" in values or len(values) == 1
    return outputs_of(returned) if found else returned


def criterion_takes(criterion: object, returned: object) -> Any:
    """Return what a criterion takes: outputs, or your own all that was returned."""
    return outputs_of(returned) if is_known(criterion) else returned


def is_known(criterion: object) -> bool:
    """Whether a criterion is torch's or the library's own."""
    forward = getattr(type(criterion), "forward", None)
    return getattr(forward, "__module__", "").partition(".")[0] in _OWN
