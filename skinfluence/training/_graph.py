"""The graph that autograd has recorded of a batch's losses."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.graph import Node

from ._precision import widened


def _nodes(values: Tensor) -> Iterator[Node]:
    """Yield the nodes in a fixed order, each before those that follow it."""
    waiting = [] if values.grad_fn is None else [values.grad_fn]
    seen = set(waiting)
    for node in waiting:  # it grows meanwhile
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


def passes_narrower(values: Tensor, dtype: torch.dtype) -> bool:
    """Whether gradients of some values go through anything narrower than a dtype.

    What is not differentiated, such as the outputs of frozen parameters, is not in
    their way, whatever its dtype.
    """
    dtypes = {each.dtype for node in _nodes(values) for each in node._input_metadata}
    return any(widened(own, dtype) is not own for own in dtypes)
