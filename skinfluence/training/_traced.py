"""The graph of an optimizer's step, and its derivatives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ._derivatives import every_slope, slopes


@dataclass(frozen=True, slots=True)
class Traced:
    """A step of the optimizer as a graph.

    Attributes
    ----------
    inputs : mapping of str to Tensor of shape (p,) or ()
        The leaves: the old state and the gradient, by name; options are single numbers.
    outputs : mapping of str to Tensor of shape (p,)
        The new state.
    """

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    def elementwise(self, output: str, names: Sequence[str]) -> dict[str, Tensor]:
        """Differentiate each element of an output in the same of inputs of its shape.

        Inputs that it does not depend on are left out.
        """
        value = self.outputs[output]
        if not value.requires_grad:
            return {}
        leaves = [self.inputs[name] for name in names]
        found = slopes([value], leaves, [torch.ones_like(value)], keep_graph=True)
        pairs = zip(names, found, strict=True)
        return {name: slope for name, slope in pairs if slope is not None}

    def pull(self, adjoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Pull adjoints of the outputs back to all inputs, and give up the graph."""
        moving = [
            k for k, v in self.outputs.items() if v.requires_grad and k in adjoint
        ]
        values = [self.outputs[name] for name in moving]
        along = [adjoint[k].to(v) for k, v in zip(moving, values, strict=True)]
        leaves = list(self.inputs.values())
        return dict(zip(self.inputs, every_slope(values, leaves, along), strict=True))
