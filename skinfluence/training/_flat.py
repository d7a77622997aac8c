"""Parameters and optimizer state as flat vectors, and back."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from ..exceptions import IrreproducibleStepError

Address = tuple[int, int]
"""A parameter's place in an optimizer: (parameter group, index in the group)."""

Scalars = tuple[tuple[str, float], ...]
"""An optimizer's scalar state of a parameter, such as its count of steps."""

PARAMETERS = "parameters"
"""The key of the parameters beside the optimizer's moments in an adjoint."""


def widest(tensors: Iterable[Tensor], least: torch.dtype | None = None) -> torch.dtype:
    """Return the dtype that holds the values of all tensors."""
    dtypes = [*([] if least is None else [least]), *(t.dtype for t in tensors)]
    return reduce(torch.promote_types, dtypes)


def same_values(one: Tensor, other: Tensor) -> bool:
    """Whether tensors of one shape have the same values; NaN equals itself."""
    return torch.equal(one, other) or bool(
        ((one == other) | (one.isnan() & other.isnan())).all()
    )


class FlatLayout:
    """Where each of a list of tensors lies in one flat vector.

    Leading dimensions are carried along, so that a stack ``(q, p)`` of flat
    vectors splits into stacks ``(q, *shape)``. Tensors of several dtypes lie in a
    vector of the widest, which holds the values of the others exactly.

    Parameters
    ----------
    shapes : sequence of torch.Size
        Shapes of the tensors.
    strides : sequence of (tuple of int or None), optional
        Strides of each tensor, if it lies in memory in another order than its shape,
        such as channels_last. It is split off in that format again: kernels round by
        it.
    dtypes : sequence of torch.dtype, optional
        The dtype to split each tensor off in, if they are several.
    """

    def __init__(
        self,
        shapes: Sequence[torch.Size],
        strides: Sequence[tuple[int, ...] | None] | None = None,
        dtypes: Sequence[torch.dtype] = (),
    ) -> None:
        self.shapes = tuple(shapes)
        self.dtypes = tuple(dtypes)
        self.strides = tuple(strides or [None] * len(self.shapes))
        self.sizes = [shape.numel() for shape in self.shapes]
        self.size = sum(self.sizes)
        # Single vectors of such tensors torch itself joins and splits in one call.
        usual = self.strides == (None,) * len(self.shapes) and 0 not in self.sizes
        self._plain = usual and not self.dtypes and len(self.shapes) > 1
        self._like = [torch.empty(shape, device="meta") for shape in self.shapes]

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> "FlatLayout":
        """Return the layout of tensors as they lie in memory."""
        shapes = [tensor.shape for tensor in tensors]
        dtypes = [tensor.dtype for tensor in tensors]
        strides = [_own_strides(tensor) for tensor in tensors]
        return cls(shapes, strides, dtypes if len(set(dtypes)) > 1 else ())

    def first(self, number: int) -> "FlatLayout":
        """Return the layout of the first tensors alone."""
        dtypes = self.dtypes[:number]
        return FlatLayout(self.shapes[:number], self.strides[:number], dtypes)

    def flatten(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the tensors as one vector (a copy)."""
        n_lead = tensors[0].dim() - len(self.shapes[0])
        if self._plain and n_lead == 0 and len(tensors) == len(self.shapes):
            joined: Tensor = _flatten_dense_tensors(tensors)
            return joined
        lead = tensors[0].shape[:n_lead]
        return torch.cat(
            [
                _as_stored(tensor, strides, n_lead).reshape(*lead, -1)
                for tensor, strides in zip(tensors, self.strides, strict=False)
            ],
            dim=-1,
        )

    def split(self, vector: Tensor) -> list[Tensor]:
        """Return the vector in the tensors' shapes: views, but of several dtypes."""
        if self._plain and vector.dim() == 1 and not vector.requires_grad:
            return list(_unflatten_dense_tensors(vector, self._like))
        lead = vector.shape[:-1]
        pieces = torch.split_with_sizes(vector, self.sizes, dim=-1)
        parts = [
            piece.view((*lead, *shape))
            if strides is None
            else piece.as_strided((*lead, *shape), (*piece.stride()[:-1], *strides))
            for piece, shape, strides in zip(
                pieces, self.shapes, self.strides, strict=True
            )
        ]
        if not self.dtypes:
            return parts
        return [part.to(own) for part, own in zip(parts, self.dtypes, strict=True)]

    def eps(self, tensors: Sequence[Tensor]) -> float | Tensor:
        """Return the precision of the tensors: of each entry (p,), if it differs."""
        each = [torch.finfo(tensor.dtype).eps for tensor in tensors]
        if not self.dtypes:
            return each[0]
        sizes = torch.tensor(self.sizes, device=tensors[0].device)
        return tensors[0].new_tensor(each, dtype=torch.float64).repeat_interleave(sizes)

    def places(self, positions: Sequence[int]) -> slice | Tensor:
        """Return the index of the given tensors' entries in the vector."""
        starts = [sum(self.sizes[:position]) for position in positions]
        stops = [
            start + self.sizes[position]
            for start, position in zip(starts, positions, strict=True)
        ]
        if starts[1:] == stops[:-1]:
            return slice(starts[0], stops[-1])
        return torch.cat(
            [torch.arange(*ends) for ends in zip(starts, stops, strict=True)]
        )


def _own_strides(tensor: Tensor) -> tuple[int, ...] | None:
    """Return the strides of a tensor in another memory format; None in its own."""
    strides = tensor.stride()
    usual = torch.empty(tensor.shape, device="meta").stride()
    # What is not one dense block of memory has no format to keep.
    dense = tensor.permute(_stored_order(strides)).is_contiguous()
    return strides if dense and strides != usual else None


def _stored_order(strides: Sequence[int]) -> list[int]:
    """Return the dimensions, from the slowest to the fastest in memory."""
    return sorted(range(len(strides)), key=lambda k: (-strides[k], k))


def _as_stored(tensor: Tensor, strides: Sequence[int] | None, n_lead: int) -> Tensor:
    """Return the tensor with its dimensions in the order of its memory."""
    if strides is None:
        return tensor
    order = [n_lead + k for k in _stored_order(strides)]
    return tensor.permute(*range(n_lead), *order)


@dataclass(frozen=True, slots=True)
class State:
    """What one training step begins from.

    Attributes
    ----------
    parameters : Tensor of shape (p,)
        The trained parameters, in the order of the layout.
    moments : mapping of str to Tensor of shape (p,)
        The optimizer's elementwise state; 0 where a parameter has none yet.
    scalars : tuple of Scalars or None
        The optimizer's scalar state of each parameter; None before its first
        update.
    buffers : tuple of Tensor
        The modules' buffers, such as BatchNorm's running statistics. States share the
        tensors of those that do not change.
    """

    parameters: Tensor
    moments: Mapping[str, Tensor]
    scalars: tuple[Scalars | None, ...]
    buffers: tuple[Tensor, ...]

    def each(self, function: Callable[[Tensor], Tensor]) -> "State":
        """Return the state with a function applied to each tensor."""
        return State(
            function(self.parameters),
            {name: function(moment) for name, moment in self.moments.items()},
            self.scalars,
            tuple(map(function, self.buffers)),
        )

    def of_dtype(self, dtype: torch.dtype) -> "State":
        """Return the state with parameters and moments of a dtype."""
        if self.parameters.dtype is dtype:
            return self
        return State(
            self.parameters.to(dtype),
            {name: moment.to(dtype) for name, moment in self.moments.items()},
            self.scalars,
            self.buffers,
        )

    @property
    def nbytes(self) -> int:
        """Size of the tensors in bytes."""
        return self.nbytes_beside(())

    def nbytes_beside(self, buffers: Sequence[Tensor]) -> int:
        """Size of the tensors in bytes, without the buffers that are among others."""
        size = (1 + len(self.moments)) * self.parameters.nbytes
        if not self.buffers:
            return size
        shared = {id(buffer) for buffer in buffers}
        return size + sum(b.nbytes for b in self.buffers if id(b) not in shared)


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
    untrained : sequence of Tensor
        The parameters' values before they were first trained: what they have in a
        state that is older than that.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        addresses: Sequence[Address],
        buffers: Sequence[Tensor],
        moments: Sequence[str],
        untrained: Sequence[Tensor] = (),
    ) -> None:
        self.optimizer = optimizer
        self.addresses = tuple(addresses)
        self.parameters: list[Tensor] = [
            optimizer.param_groups[group]["params"][index] for group, index in addresses
        ]
        self.buffers = tuple(buffers)
        self._values: tuple[Tensor, ...] = ()  # of the buffers, in the last state
        self.moments = tuple(moments)
        self.untrained = tuple(untrained)
        self.layout = FlatLayout.of(self.parameters)
        self.dtype = widest(self.parameters)
        # Scalars are kept as numbers; their dtypes and devices are the optimizer's.
        self.prototypes: dict[str, Tensor] = {}
        for state in self._optimizer_states():
            self.prototypes.update(state or {})

    def _optimizer_states(self) -> Sequence[dict[str, Any] | None]:
        every = self.optimizer.state
        if not every:
            return [None] * len(self.parameters)
        # `get`: the optimizer's state is a defaultdict, and reading must not fill it.
        return [every.get(parameter) or None for parameter in self.parameters]

    @torch.no_grad()
    def read(self) -> State:
        """Return a copy of the state."""
        states = self._optimizer_states()
        moments = {}
        for name in self.moments:
            if any(state and state.get(name) is not None for state in states):
                moments[name] = self.layout.flatten(
                    [
                        torch.zeros_like(parameter)
                        if state is None or state.get(name) is None
                        else state[name]
                        for parameter, state in zip(
                            self.parameters, states, strict=True
                        )
                    ]
                )
        return State(
            self.layout.flatten(self.parameters),
            moments,
            self._scalars(states),
            self._read_buffers(),
        )

    def _read_buffers(self) -> tuple[Tensor, ...]:
        if not self.buffers:
            return ()
        # Compared by their values: what is written to `.data` leaves no trace.
        known = self._values or (None,) * len(self.buffers)
        self._values = tuple(
            last if last is not None and torch.equal(last, buffer) else buffer.clone()
            for last, buffer in zip(known, self.buffers, strict=True)
        )
        return self._values

    def _scalars(
        self, states: Sequence[Mapping[str, Any] | None]
    ) -> tuple[Scalars | None, ...]:
        scalars: list[Scalars | None] = []
        for state in states:
            own = None
            if state is not None:
                own = tuple(
                    (name, float(value))
                    for name, value in state.items()
                    if name not in self.moments and value is not None
                )
            # Parameters mostly share their scalars: one tuple serves them all.
            scalars.append(scalars[-1] if scalars and scalars[-1] == own else own)
        return tuple(scalars)

    def show(self, state: State) -> None:
        """Let parameters and buffers have the state's values, to be read only.

        The parameters' data *are* the state's then: no copy is made.
        """
        known = len(state.scalars)
        views = self._split(state.parameters, known)
        if known < len(self.parameters):
            views += self.untrained[known:]
        for parameter, view in zip(self.parameters, views, strict=True):
            parameter.data = view
        if len(self.buffers) != len(state.buffers):
            raise IrreproducibleStepError(
                f"The module must have the {len(state.buffers)} buffers that it had in "
                f"the recorded step, but has {len(self.buffers)}: something added or "
                "removed buffers on the way, such as pruning in a callback. Change the "
                "module before fit, or train with record=None."
            )
        if self.buffers:
            torch._foreach_copy_(list(self.buffers), list(state.buffers))
            self._values = state.buffers

    def _split(self, vector: Tensor, known: int) -> list[Tensor]:
        """Split a vector of the first `known` parameters."""
        if known == len(self.parameters):
            return self.layout.split(vector)
        return self.layout.first(known).split(vector)

    @torch.no_grad()
    def write(self, state: State) -> None:
        """Put a copy of the whole state in place, the optimizer's included."""
        self.show(state)
        for parameter in self.parameters:
            parameter.data = parameter.data.clone()
            self.optimizer.state.pop(parameter, None)
        known = len(state.scalars)
        moments = {k: self._split(v, known) for k, v in state.moments.items()}
        for position, scalars in enumerate(state.scalars):
            if scalars is not None:
                own = {name: views[position].clone() for name, views in moments.items()}
                for name, value in scalars:
                    own[name] = torch.full_like(self.prototypes[name], value)
                self.optimizer.state[self.parameters[position]] = own

    @torch.no_grad()
    def holds(self, vector: Tensor) -> bool:
        """Whether the parameters have the values of the flat vector."""
        whole = len(vector) == self.layout.size
        return whole and same_values(self.layout.flatten(self.parameters), vector)

    def marks(self) -> list[tuple[int, int]]:
        """Return what differs once the optimizer's state was written to or replaced.

        What was written to a tensor's `data` is not seen.
        """
        return [
            (id(value), value._version)
            for state in self._optimizer_states()
            if state is not None
            for value in state.values()
            if isinstance(value, Tensor)
        ]
