"""Parameters and optimizer state as flat vectors, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Address = tuple[int, int]
"""A parameter's place in an optimizer: (parameter group, index in the group)."""

PARAMETERS = "parameters"
"""The key of the parameters beside the optimizer's moments in an adjoint."""


class FlatLayout:
    """Where each of a list of tensors lies in one flat vector.

    Leading dimensions are carried along, so that a stack ``(q, p)`` of flat
    vectors splits into stacks ``(q, *shape)``.
    """

    def __init__(self, shapes: Sequence[torch.Size]) -> None:
        self.shapes = tuple(shapes)
        self.sizes = [shape.numel() for shape in self.shapes]
        self.size = sum(self.sizes)

    def flatten(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the tensors as one vector (a copy)."""
        lead = tensors[0].shape[: tensors[0].dim() - len(self.shapes[0])]
        return torch.cat([tensor.reshape(*lead, -1) for tensor in tensors], dim=-1)

    def split(self, vector: Tensor) -> list[Tensor]:
        """Return views of the vector in the tensors' shapes."""
        lead = vector.shape[:-1]
        pieces = vector.split(self.sizes, dim=-1)
        return [
            piece.view(*lead, *shape)
            for piece, shape in zip(pieces, self.shapes, strict=True)
        ]

    def places(self, positions: Sequence[int]) -> slice | Tensor:
        """Return the index of the given tensors' entries in the vector."""
        starts = [sum(self.sizes[:position]) for position in positions]
        stops = [
            start + self.sizes[position]
            for start, position in zip(starts, positions, strict=True)
        ]
        if starts[1:] == stops[:-1]:
            return slice(starts[0], stops[-1])
        return torch.cat([torch.arange(*ends) for ends in zip(starts, stops, strict=True)])


@dataclass(frozen=True, slots=True)
class State:
    """What one training step begins from.

    Attributes
    ----------
    parameters : Tensor of shape (p,)
        The trained parameters, in the order of the layout.
    moments : mapping of str to Tensor of shape (p,)
        The optimizer's elementwise state; 0 where a parameter has none yet.
    scalars : tuple of (mapping of str to float) or None
        The optimizer's scalar state of each parameter; None before its first
        update.
    buffers : tuple of Tensor
        The modules' buffers, such as BatchNorm's running statistics.
    """

    parameters: Tensor
    moments: Mapping[str, Tensor]
    scalars: tuple[Mapping[str, float] | None, ...]
    buffers: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        """Size of the tensors in bytes."""
        tensors = (self.parameters, *self.moments.values(), *self.buffers)
        return sum(tensor.nbytes for tensor in tensors)


class LiveState:
    """The state as it lives in modules and an optimizer, read and written whole.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Holds the parameters and their state.
    addresses : sequence of Address
        The parameters that are trained, in the order of the flat vector.
    buffers : sequence of Tensor
        The modules' buffers.
    moments : sequence of str
        Names of the optimizer's elementwise state.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        addresses: Sequence[Address],
        buffers: Sequence[Tensor],
        moments: Sequence[str],
    ) -> None:
        self.optimizer = optimizer
        self.addresses = tuple(addresses)
        self.parameters: list[Tensor] = [
            optimizer.param_groups[group]["params"][index] for group, index in addresses
        ]
        self.buffers = tuple(buffers)
        self.moments = tuple(moments)
        self.layout = FlatLayout([parameter.shape for parameter in self.parameters])
        # Scalars are kept as numbers; their dtypes and devices are the optimizer's.
        self._prototypes: dict[str, Tensor] = {}
        for parameter in self.parameters:
            self._prototypes.update(self._optimizer_state(parameter) or {})

    def _optimizer_state(self, parameter: Tensor) -> dict[str, Any] | None:
        # `get`: the optimizer's state is a defaultdict, and reading must not fill it.
        state = self.optimizer.state.get(parameter)
        return state if state else None

    @torch.no_grad()
    def read(self) -> State:
        """Return a copy of the state."""
        states = [self._optimizer_state(parameter) for parameter in self.parameters]
        moments = {}
        for name in self.moments:
            if any(state and state.get(name) is not None for state in states):
                moments[name] = self.layout.flatten(
                    [
                        torch.zeros_like(parameter)
                        if state is None or state.get(name) is None
                        else state[name]
                        for parameter, state in zip(self.parameters, states, strict=True)
                    ]
                )
        return State(
            self.layout.flatten(self.parameters),
            moments,
            self._scalars(states),
            tuple(buffer.clone() for buffer in self.buffers),
        )

    def _scalars(
        self, states: Sequence[Mapping[str, Any] | None]
    ) -> tuple[Mapping[str, float] | None, ...]:
        scalars: list[Mapping[str, float] | None] = []
        for state in states:
            own = state and {
                name: float(value)
                for name, value in state.items()
                if name not in self.moments and value is not None
            }
            # Parameters mostly share their scalars: one mapping serves them all.
            scalars.append(scalars[-1] if scalars and scalars[-1] == own else own)
        return tuple(scalars)

    @torch.no_grad()
    def write_model(self, state: State) -> None:
        """Put parameters and buffers in place."""
        vector = state.parameters
        if len(vector) == self.layout.size:
            targets, views = self.parameters, self.layout.split(vector)
        else:
            # The state is older than the parameters that were unfrozen later.
            count = len(state.scalars)
            targets = self.parameters[:count]
            views = FlatLayout(self.layout.shapes[:count]).split(vector)
        torch._foreach_copy_(targets, views)
        if self.buffers:
            torch._foreach_copy_(list(self.buffers), list(state.buffers))

    @torch.no_grad()
    def write(self, state: State) -> None:
        """Put the whole state in place, the optimizer's included."""
        self.write_model(state)
        moments = {name: self.layout.split(vector) for name, vector in state.moments.items()}
        for position, (parameter, scalars) in enumerate(
            zip(self.parameters, state.scalars, strict=False)
        ):
            if scalars is None:
                self.optimizer.state.pop(parameter, None)
                continue
            own = {name: views[position].clone() for name, views in moments.items()}
            for name, value in scalars.items():
                own[name] = torch.full_like(self._prototypes[name], value)
            self.optimizer.state[parameter] = own

    def holds(self, vector: Tensor) -> bool:
        """Whether the parameters equal the flat vector, bit for bit."""
        return len(vector) == self.layout.size and all(
            map(torch.equal, self.parameters, self.layout.split(vector))
        )
