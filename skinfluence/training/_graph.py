"""The graph that autograd has recorded of a batch's losses."""

import torch
from torch import Tensor
from torch.autograd.graph import Node

from ._precision import widened

# Modules whose autograd Functions have the right derivatives.
_RIGHT = {"torch.utils.checkpoint", f"{__package__}._kinks"}


def structure(values: Tensor) -> int:
    """Return a hash of which operations values come from, and how they are joined.

    It is another one where a branch that depends on the data stops a gradient.
    """
    return hash(tuple(_walk(values)[1]))


def count_operations(values: Tensor) -> int:
    """Return how many operations and leaves values come from."""
    return len(_walk(values)[0])


def passes_narrower(values: Tensor, dtype: torch.dtype) -> bool:
    """Whether gradients of some values go through anything narrower than a dtype.

    What is not differentiated, such as the outputs of frozen parameters, is not in
    their way, whatever its dtype.
    """
    dtypes = {each.dtype for node in _walk(values)[0] for each in node._input_metadata}
    return any(widened(own, dtype) is not own for own in dtypes)


def passes_code(values: Tensor) -> bool:
    """Whether gradients pass Python code, of an autograd Function or a hook.

    Its derivative may be right for some values and wrong for others.
    """
    functions = (getattr(node, "_forward_cls", None) for node in _walk(values)[0])
    return any(f is not None and f.__module__ not in _RIGHT for f in functions)


def _walk(values: Tensor) -> tuple[list[Node], list[type | int]]:
    """Return the nodes, and each one's type with the places of those that follow it."""
    first = values.grad_fn
    nodes = [] if first is None else [first]
    places: dict[Node | None, int] = {None: -1, first: 0}
    described: list[type | int] = []
    for node in nodes:  # it grows meanwhile
        described.append(type(node))  # its name takes longer
        for following, _ in node.next_functions:
            place = places.get(following)
            if place is None:
                assert following is not None
                place = places[following] = len(nodes)
                nodes.append(following)
            described.append(place)
    return nodes, described
