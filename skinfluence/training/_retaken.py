"""A step pulled back: its update, linearized, and what shows whether it is the one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import mul
from typing import NamedTuple

import torch
from torch import Tensor

from ._flat import PARAMETERS, Scalars, State
from ._record import StepRecord
from ._traced import Traced
from ._update import GRADIENT, Jacobian, UpdateRule, pull_back, push_forward

Adjoint = Mapping[str, Tensor]
"""∂Q/∂s: ``"parameters"`` and each moment's name -> (p,) or (q, p)."""

Around = tuple[StepRecord, State, State]
"""A step, and the states before and after it."""


def with_more(adjoint: Adjoint, more: Tensor | None) -> Adjoint:
    """Return an adjoint with more of ∂Q/∂θ."""
    if more is None:
        return adjoint
    return {**adjoint, PARAMETERS: adjoint.get(PARAMETERS, 0) + more}


# Of a parameter itself, in eps: what a step's few additions to it may round off.
_LAST_BITS = 8

# Of a step: optimizers keep some of their numbers in single precision.
_SCALARS = 1e-6


class Deviation(NamedTuple):
    """How far parameters are from where a gradient leads, and what rounding may do.

    The numbers stay tensors until many are fetched at once.

    Attributes
    ----------
    distance : Tensor of shape ()
        The square of the distance.
    scales : sequence of Tensor of shape ()
        The squares of what rounding is relative to; none if the distance is in units of
        rounding already.
    weights : sequence of float
        How much of each rounding may be.
    """

    distance: Tensor
    scales: Sequence[Tensor] = ()
    weights: Sequence[float] = ()

    @property
    def scalars(self) -> list[Tensor]:
        """The distance and its scales."""
        return [self.distance, *self.scales]

    def within_rounding(self, numbers: Sequence[float]) -> bool:
        """Whether rounding explains the distance, given the numbers of `scalars`."""
        distance, *scales = map(math.sqrt, numbers)
        return distance <= (sum(map(mul, self.weights, scales)) if scales else 1.0)


@dataclass(frozen=True, slots=True)
class Block:
    """Parameters that share their hyper-parameters and their scalar state."""

    rule: UpdateRule
    places: slice | Tensor | None
    """Their entries in the flat vectors; None for all."""
    scalars: Scalars | None

    def part(self, vector: Tensor) -> Tensor:
        """Return the block's entries of a flat vector."""
        return vector if self.places is None else vector[..., self.places]

    def moments(self, state: State) -> dict[str, Tensor]:
        """Return the block's part of the optimizer's state; none before its start."""
        if self.scalars is None:
            return {}
        return {name: self.part(vector) for name, vector in state.moments.items()}

    def linearize(
        self, state: State, gradient: Tensor, in_options: bool = False
    ) -> "Update":
        """Linearize the update at a state and a gradient, in its options too if asked.

        A linear one gives the derivatives in its options without that.
        """
        point = (
            self.part(state.parameters),
            self.part(gradient),
            self.moments(state),
            self.scalars,
        )
        if not in_options or self.rule.linear:
            return Update(self, *self.rule.linearize(*point))
        traced = self.rule.trace(*point)
        slopes = traced.elementwise(PARAMETERS, [GRADIENT])
        jacobian = {(PARAMETERS, name): slope for name, slope in slopes.items()}
        return TracedUpdate(self, jacobian, traced.outputs[PARAMETERS].detach(), traced)


@dataclass(frozen=True, slots=True)
class Update:
    """The optimizer's update of a block, linearized where the step was taken."""

    block: Block
    jacobian: Jacobian
    parameters: Tensor | None
    """Where the update leads; None if it is linear."""

    def pull(self, adjoint: Adjoint) -> dict[str, Tensor]:
        """Pull the block's part of an adjoint through the update."""
        own = {name: self.block.part(vector) for name, vector in adjoint.items()}
        return pull_back(self.jacobian, own)

    def push(self, tangent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Push the block's part of a tangent, of the gradient too, through."""
        own = {name: self.block.part(vector) for name, vector in tangent.items()}
        return push_forward(self.jacobian, own)

    def option_slopes(
        self, state: State, gradient: Tensor, adjoint: Adjoint
    ) -> Mapping[str, Tensor]:
        """Return ∂Q/∂h of the optimizer's options h of the block at the step, by name.

        The adjoint is that of the state after the step, which has been pulled.
        """
        block = self.block
        return block.rule.linear_option_slopes(
            block.part(state.parameters),
            block.part(gradient),
            block.moments(state),
            block.scalars,
            {name: block.part(vector) for name, vector in adjoint.items()},
        )

    def deviation(
        self,
        state: State,
        gradient: Tensor,
        after: Tensor,
        tolerance: float,
        eps: float | Tensor,
    ) -> Deviation:
        """Compare the recorded update with this one, see :class:`Retaken`."""
        before, after = self.block.part(state.parameters), self.block.part(after)
        gradient = self.block.part(gradient)
        last = after
        if isinstance(eps, Tensor):
            last, eps = after * self.block.part(eps).to(after), 1.0
        if self.parameters is None:
            squares = self.squares(state, gradient, after, last)
            return self.judged(squares, tolerance, eps)
        weights = max(tolerance, _SCALARS), tolerance, _LAST_BITS * eps
        slope = torch.as_tensor(self.jacobian[PARAMETERS, GRADIENT])
        noise = tolerance * gradient.abs().max()
        distance = (after - self.parameters).abs()
        # Where the gradient itself is rounding (a bias before BatchNorm), Adam makes
        # whole steps of it, this way or that.
        distance = distance.masked_fill(gradient.abs() <= 4 * noise, 0.0)
        moved = weights[0] * (after - before).abs().max()
        rounding = slope.abs() * noise + moved + weights[2] * last.abs()
        ratio = (distance / rounding).nan_to_num(0.0, posinf=torch.inf)
        return Deviation(ratio.max().square())

    def squares(
        self, state: State, gradient: Tensor, after: Tensor, last: Tensor
    ) -> Sequence[Tensor]:
        """Return the square of a linear update's deviation, and those of its scales.

        The gradient and the rest are the block's own.
        """
        before = self.block.part(state.parameters)
        moved = after - before
        rest = _less(moved, before, self._slope(PARAMETERS) - 1)
        rest = _less(rest, gradient, self._slope(GRADIENT))
        for name, vector in self.block.moments(state).items():
            rest = _less(rest, vector, self._slope(name))
        # Squares: a product with itself takes a quarter of the time of a norm.
        return [v @ v for v in (rest, moved, gradient, last)]

    def judged(
        self, squares: Sequence[Tensor], tolerance: float, eps: float
    ) -> Deviation:
        """Return the deviation of a linear update from its :meth:`squares`."""
        distance, *scales = squares
        noise = tolerance * abs(float(self._slope(GRADIENT)))
        weights = max(tolerance, _SCALARS), noise, _LAST_BITS * eps
        return Deviation(distance, scales, weights)

    def _slope(self, name: str) -> float | Tensor:
        return self.jacobian.get((PARAMETERS, name), 0.0)


@dataclass(frozen=True, slots=True)
class TracedUpdate(Update):
    """One whose graph is pulled through, to its options in the same pass.

    Its Jacobian holds only what shows whether it is the recorded one.
    """

    traced: Traced
    _in_options: dict[str, Tensor] = field(default_factory=dict)

    def pull(self, adjoint: Adjoint) -> dict[str, Tensor]:
        """Pull the block's part of an adjoint (not of a stack) through, once."""
        own = {name: self.block.part(vector) for name, vector in adjoint.items()}
        pulled = self.traced.pull(own)
        for name in self.block.rule.options:
            self._in_options[name] = pulled.pop(name)
        return pulled

    def option_slopes(
        self, state: State, gradient: Tensor, adjoint: Adjoint
    ) -> Mapping[str, Tensor]:
        """Return ∂Q/∂h of the optimizer's options h, as :meth:`pull` has found them."""
        return self._in_options


@dataclass(frozen=True, slots=True)
class Linearized:
    """A step's update, linearized, and what shows whether it is the recorded one.

    Attributes
    ----------
    loss : Tensor of shape ()
        The batch loss.
    gradient : Tensor of shape (p,)
        Its gradient as the optimizer saw it.
    updates : sequence of Update
        The optimizer's update, linearized there.
    """

    loss: Tensor
    gradient: Tensor
    updates: Sequence[Update]

    def deviations(
        self, before: State, after: State, tolerance: float, eps: float | Tensor
    ) -> list[Deviation]:
        """Compare where the gradient leads with where it led in training.

        Parameters
        ----------
        before, after : State
            What the step began from, and what it led to in training.
        tolerance : float
            What rounding may do to the gradient, relative to its largest element.
        eps : float or Tensor of shape (p,)
            The precision of the parameters in training.

        Returns
        -------
        list of Deviation
            One for each block of parameters.
        """
        return [
            update.deviation(before, self.gradient, after.parameters, tolerance, eps)
            for update in self.updates
        ]


@dataclass(frozen=True, slots=True)
class Retaken(Linearized):
    """A step pulled back, and what shows whether it is the recorded one.

    Attributes
    ----------
    slopes : Tensor of shape (batch,) or (q, batch)
        ∂Q/∂w of the batch's samples through the step.
    adjoint : mapping of str to Tensor
        ∂Q/∂s of the state before the step.
    direction : Tensor of shape (p,) or (q, p)
        ∂Q/∂g, where g is the gradient that the optimizer saw.
    given : mapping of str to Tensor
        ∂Q/∂s of the state after the step.
    """

    slopes: Tensor
    adjoint: Adjoint
    direction: Tensor
    given: Adjoint

    @property
    def amplitude(self) -> Tensor:
        """The norm of ∂Q/∂θ after the step."""
        return self.given[PARAMETERS].norm()


class RetakenTogether(NamedTuple):
    """One of several steps that were pulled back at once: what a retrace needs of it.

    Attributes
    ----------
    loss : Tensor of shape ()
        The batch loss.
    slopes : Tensor of shape (batch,)
        ∂Q/∂w of the batch's samples through the step.
    square : Tensor of shape ()
        The square of the norm of ∂Q/∂θ after the step.
    update : Update
        The optimizer's update, which is linear.
    squares : sequence of Tensor of shape ()
        Its :meth:`Update.squares`.
    """

    loss: Tensor
    slopes: Tensor
    square: Tensor
    update: Update
    squares: Sequence[Tensor]

    @property
    def amplitude(self) -> Tensor:
        """The norm of ∂Q/∂θ after the step."""
        return self.square.sqrt()

    def deviations(
        self, before: State, after: State, tolerance: float, eps: float | Tensor
    ) -> list[Deviation]:
        """Compare the step with the recorded one, see :class:`Linearized`."""
        return [self.update.judged(self.squares, tolerance, float(eps))]


def _less(vector: Tensor, other: Tensor, factor: float | Tensor) -> Tensor:
    if isinstance(factor, Tensor):  # as a traced one is
        return vector - factor * other
    return vector.sub(other, alpha=factor) if factor else vector
