"""Which of the things that a module returns are its outputs."""

from collections.abc import Mapping
from typing import Any

# Modules whose criteria take the outputs alone.
_OWN = {"torch", __name__.partition(".")[0]}


def outputs_of(returned: object) -> Any:
    """Return a module's outputs, among what it returned.

    Parameters
    ----------
    returned : Tensor, tuple, list or mapping
        What the module's ``forward`` returned.

    Returns
    -------
    Tensor
        The first of a tuple or list; a mapping's "logits", or its only value.

    Raises
    ------
    TypeError
        If a mapping has several values, and none of the name "logits".

    Examples
    --------
    >>> from skinfluence.estimators import outputs_of
    >>> outputs_of({"loss": 0.5, "logits": [0.0, 1.0]})
    [0.0, 1.0]
    """
    if isinstance(returned, Mapping):
        if "logits" in returned:
            return returned["logits"]
        if len(returned) == 1:
            return next(iter(returned.values()))
        raise TypeError(
            "A module that returns a mapping must name its outputs 'logits', got "
            f"{list(returned)}. Override `get_losses` to use the others, and return "
            "the outputs as 'logits'."
        )
    return returned[0] if isinstance(returned, (tuple, list)) else returned


def criterion_takes(criterion: object, returned: object) -> Any:
    """Return what a criterion takes: outputs, or your own all that was returned."""
    forward = getattr(type(criterion), "forward", None)
    home = getattr(forward, "__module__", "").partition(".")[0]
    return outputs_of(returned) if home in _OWN else returned
