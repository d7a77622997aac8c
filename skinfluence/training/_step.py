"""One training step, forwards and backwards."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ._clipping import Clipping
from ._derivatives import derivatives_along, differentiate, weighted_gradients
from ._flat import PARAMETERS, LiveState, Scalars, State
from ._objective import Objective
from ._randomness import seeded
from ._record import Hyperparameters, StepRecord
from ._update import GRADIENT, UpdateRule, pull_back

Adjoint = Mapping[str, Tensor]
"""∂Q/∂s: ``"parameters"`` and each moment's name -> (p,) or (q, p)."""

Linearization = tuple[Callable[[], Tensor], Callable[[Tensor], tuple[Tensor, Tensor]]]
"""``gradient() -> (p,)`` of the batch loss as the optimizer saw it, and
``pull(direction) -> (slopes, through)``: ⟨direction, gradient⟩ differentiated in the
samples' weights and in the parameters, for one direction or a stack of them."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Parameters that share their hyper-parameters and their scalar state."""

    rule: UpdateRule
    places: slice | Tensor | None
    """Their entries in the flat vectors; None for all."""
    scalars: Scalars | None

    def part(self, vector: Tensor) -> Tensor:
        return vector if self.places is None else vector[..., self.places]


class TrainingStep:
    """A run's training step on a private copy of its modules and optimizer.

    Parameters
    ----------
    objective : Objective
        The per-sample losses, on the private copy of the modules.
    live : LiveState
        The state of the private copy.
    """

    def __init__(self, objective: Objective, live: LiveState) -> None:
        self.objective = objective
        self.live = live
        self.device = live.parameters[0].device
        for parameter in live.parameters:
            parameter.requires_grad_()
        # One rule for each recorded mapping of hyper-parameters; the mapping is kept
        # beside it, so that its id stays its own.
        self._rules: dict[int, tuple[Hyperparameters, UpdateRule]] = {}
        self._division: tuple[object, list[_Block]] = None, []

    def forward(
        self, state: State, step: StepRecord, weights: Tensor | None = None
    ) -> State:
        """Take the step from a state, with weights on the batch's samples.

        Parameters
        ----------
        state : State
            What the step begins from.
        step : StepRecord
            The record of the step.
        weights : Tensor of shape (batch,) or None
            The w_i of the batch's samples; None for 1.

        Returns
        -------
        State
            What the next step begins from; without weights the recorded one, on a
            CPU to the bit.
        """
        self.live.write(state)
        self.advance(step, weights)
        return self.live.read()

    def advance(self, step: StepRecord, weights: Tensor | None = None) -> None:
        """Take the step from the private copy's present state, see :meth:`forward`."""
        optimizer = self.live.optimizer
        for group, hyperparameters in zip(
            optimizer.param_groups, step.hyperparameters, strict=True
        ):
            group.update(hyperparameters)
        optimizer.zero_grad(set_to_none=True)
        self.objective.train(True)
        self._descend(step, weights)
        for position, parameter in enumerate(self.live.parameters):
            if position not in step.active:
                parameter.grad = None
            elif parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if step.clipping is not None:
            self._clip(step.clipping, [self.live.parameters[k] for k in step.active])
        optimizer.step()

    def _descend(self, step: StepRecord, weights: Tensor | None) -> None:
        """Give the parameters the gradient of the batch loss."""
        with seeded(step.seed, self.device):
            losses, coefficients = self._batch_losses(step)
            losses.backward(coefficients if weights is None else weights * coefficients)

    def start(self, state: State) -> None:
        """Set the private copy to a state of the recorded run."""
        self.live.write(state)

    def each(self, function: Callable[..., Tensor], *stacks: Tensor) -> Tensor:
        """Return a function of the modules, with an axis of runs if there are many."""
        return function(*stacks)

    def _batch_losses(self, step: StepRecord) -> tuple[Tensor, Tensor]:
        return self.objective.batch_losses(step.data, step.rows)

    def _clip(self, clipping: Clipping, parameters: Sequence[Tensor]) -> None:
        clipping.clip_(parameters)

    def backward(
        self, state: State, step: StepRecord, adjoint: Adjoint
    ) -> tuple[Tensor, Adjoint]:
        """Pull the adjoint of the state after the step back through the step.

        Parameters
        ----------
        state : State
            What the step began from.
        step : StepRecord
            The record of the step.
        adjoint : mapping of str to Tensor of shape (p,) or (q, p)
            ∂Q/∂s of the state after the step, for one or several queries.

        Returns
        -------
        slopes : Tensor of shape (batch,) or (q, batch)
            ∂Q/∂w of the batch's samples through this step.
        adjoint : mapping of str to Tensor
            ∂Q/∂s of the state before the step.
        """
        return self._pull(state, step, adjoint, *self._linearize(state, step))

    def _linearize(self, state: State, step: StepRecord) -> Linearization:
        """Return the step's gradient at a state, and what differentiates it further."""
        self.live.show(state)
        self.objective.train(True)
        with seeded(step.seed, self.device):
            losses, coefficients, leaf = self._leaf_losses(step)
        gradients = weighted_gradients(
            losses,
            coefficients,
            [self.live.parameters[k] for k in step.active],
            step.clipping,
        )

        def pull(direction: Tensor) -> tuple[Tensor, Tensor]:
            directions = self.live.layout.split(direction)
            slopes, *through = derivatives_along(
                gradients,
                [leaf, *self.live.parameters],
                [directions[k] for k in step.active],
            )
            found = self._slopes(slopes, coefficients.detach())
            return found, self.live.layout.flatten(through)

        return lambda: self._flat_gradient(step, gradients), pull

    def _leaf_losses(self, step: StepRecord) -> tuple[Tensor, Tensor, Tensor]:
        """Return losses, coefficients, and the leaf to differentiate in."""
        losses, coefficients = self.objective.batch_losses(step.data, step.rows)
        return losses, coefficients, coefficients.requires_grad_()

    def _slopes(self, found: Tensor, coefficients: Tensor) -> Tensor:
        """Turn the derivatives in the leaf into the slopes that the step returns."""
        return found * coefficients

    def _pull(
        self,
        state: State,
        step: StepRecord,
        adjoint: Adjoint,
        gradient: Callable[[], Tensor],
        pull: Callable[[Tensor], tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Adjoint]:
        """Pull the adjoint through the update, and then through its gradient."""
        before, direction = self._pull_update(state, step, adjoint, gradient)
        slopes, through = pull(direction)
        before[PARAMETERS] = before[PARAMETERS] + through
        return slopes, before

    def activation_bytes(self, step: StepRecord) -> int:
        """Return how many bytes the forward pass saves for the backward pass."""
        kept = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal kept
            kept += tensor.nbytes
            return tensor

        with (
            seeded(step.seed, self.device),
            torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor),
        ):
            self.objective.batch_losses(step.data, step.rows)
        return kept

    def gradient(self, values: Tensor, along: Tensor) -> Tensor:
        """Differentiate per-sample values in the parameters.

        Parameters
        ----------
        values : Tensor of shape (n,)
            Computed from the parameters as they stand.
        along : Tensor of shape (n,) or (q, n)
            Weights of the values, one set for each gradient.

        Returns
        -------
        Tensor of shape (p,) or (q, p)
        """
        found = differentiate([values], self.live.parameters, [along])
        return self.live.layout.flatten(found)

    def _flat_gradient(self, step: StepRecord, gradients: Sequence[Tensor]) -> Tensor:
        every = [torch.zeros_like(parameter) for parameter in self.live.parameters]
        for position, gradient in zip(step.active, gradients, strict=True):
            every[position] = gradient.detach()
        return self.live.layout.flatten(every)

    def _pull_update(
        self,
        state: State,
        step: StepRecord,
        adjoint: Adjoint,
        gradient: Callable[[], Tensor],
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Pull the adjoint through the optimizer's update.

        Returns the adjoints of the old state and of the gradient.
        """
        blocks = self._blocks(state, step)
        linear = all(block.rule.linear for block in blocks)
        # Linear rules do not use the gradient: it need not be computed.
        point = state.parameters if linear else gradient()
        pulled = [_pull_block(block, state, point, adjoint) for block in blocks]
        if blocks[0].places is None:
            return pulled[0], pulled[0].pop(GRADIENT)
        # What the step did not touch passes through; what it touched is overwritten.
        like = adjoint[PARAMETERS]
        before = {name: torch.zeros_like(like) for name in state.moments}
        before.update((name, vector.clone()) for name, vector in adjoint.items())
        direction = torch.zeros_like(like)
        for block, own in zip(blocks, pulled, strict=True):
            direction[..., block.places] = own.pop(GRADIENT)
            for name, vector in before.items():
                vector[..., block.places] = own.get(name, 0.0)
        return before, direction

    def _blocks(self, state: State, step: StepRecord) -> list[_Block]:
        # Most often the blocks are those of the step before.
        key = (id(step.hyperparameters), step.active, state.scalars)
        if key != self._division[0]:
            self._division = key, self._divide(state, step)
        return self._division[1]

    def _divide(self, state: State, step: StepRecord) -> list[_Block]:
        """Divide the parameters that the step updated into blocks."""
        members: dict[tuple[int, Scalars | None], list[int]] = {}
        for position in step.active:
            group = self.live.addresses[position][0]
            key = group, state.scalars[position]
            members.setdefault(key, []).append(position)
        blocks = []
        for (group, scalars), positions in members.items():
            places: slice | Tensor | None = self.live.layout.places(positions)
            if places == slice(0, self.live.layout.size):
                places = None
            rule = self._rule(step.hyperparameters[group])
            blocks.append(_Block(rule, places, scalars))
        return blocks

    def _rule(self, hyperparameters: Hyperparameters) -> UpdateRule:
        known = self._rules.get(id(hyperparameters))
        if known is None:
            rule = UpdateRule(type(self.live.optimizer), hyperparameters)
            known = self._rules[id(hyperparameters)] = hyperparameters, rule
        return known[1]


def _pull_block(
    block: _Block, state: State, gradient: Tensor, adjoint: Adjoint
) -> dict[str, Tensor]:
    started = block.scalars is not None
    jacobian = block.rule.jacobian(
        block.part(state.parameters),
        block.part(gradient),
        {k: block.part(v) for k, v in state.moments.items()} if started else {},
        block.scalars,
    )
    return pull_back(jacobian, {k: block.part(v) for k, v in adjoint.items()})
