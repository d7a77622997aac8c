"""One training step, forwards and backwards."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._clipping import Clipping
from ._derivatives import (
    clear_gradients,
    derivatives_along,
    descend,
    differentiate,
    weighted_gradients,
)
from ._flat import PARAMETERS, LiveState, Scalars, State
from ._graph import passes_narrower, structure
from ._kernels import twice_differentiable
from ._kinks import SmoothedKinks
from ._objective import Objective
from ._randomness import seeded
from ._ranks import Ranks
from ._record import Hyperparameters, MicroBatch, StepRecord
from ._retaken import (
    Adjoint,
    Around,
    Block,
    Retaken,
    RetakenTogether,
    Update,
    with_more,
)
from ._rounding import rounding_tolerance
from ._stops import StoppingSteps
from ._update import GRADIENT, UpdateRule


class Pulled(NamedTuple):
    """⟨direction, gradient⟩ differentiated, and what was seen on the way."""

    slopes: Tensor
    """In the samples' weights: (batch,) or (q, batch)."""
    through: Tensor
    """In the parameters: (p,) or (q, p)."""
    gradient: Tensor
    """Of the batch loss, as the optimizer saw it: (p,)."""
    loss: Tensor
    """The batch loss: ()."""


class LeafLosses(NamedTuple):
    """The losses of a micro-batch, and the leaf to differentiate their step in."""

    losses: Tensor
    coefficients: Tensor
    leaf: Tensor
    other: Tensor | None = None
    """Which labels are not the samples' own, where the leaf is of labels."""


Linearization = tuple[Callable[[], Tensor], Callable[[Tensor], Pulled]]
"""``gradient() -> (p,)``, and ``pull(direction)`` for one direction or a stack."""


class TrainingStep:
    """A run's training step on a private copy of its modules and optimizer.

    Parameters
    ----------
    objective : Objective
        The per-sample losses, on the private copy of the modules.
    live : LiveState
        The state of the private copy.
    kinks : SmoothedKinks or None
        How to differentiate functions with kinks on the way back.

    Attributes
    ----------
    at_once : int
        How many steps :meth:`backwards` may be given.
    """

    at_once = 1

    def __init__(
        self,
        objective: Objective,
        live: LiveState,
        kinks: SmoothedKinks | None = None,
    ) -> None:
        self.objective = objective
        self.live = live
        self.device = live.parameters[0].device
        # Checkpointed activations are computed again in the backward pass.
        self.kernels = twice_differentiable(objective.modules)
        self._kinks: AbstractContextManager[object] = kinks or nullcontext()
        for parameter in live.parameters:
            parameter.requires_grad_()
        # One rule for each recorded mapping of hyper-parameters; the mapping is kept
        # beside it, so that its id stays its own.
        self._rules: dict[int, tuple[Hyperparameters, UpdateRule]] = {}
        self._division: tuple[object, list[Block]] = None, []
        # The graphs of the losses of each step pulled back, and what has had a gradient
        # where one was new: a branch may leave out parameters that others move.
        self.graphs: dict[int, tuple[int, ...]] = {}
        self.reached = torch.zeros(
            live.layout.size, dtype=torch.bool, device=self.device
        )
        self.ranks = Ranks()  # that take the step's micro-batches, each its share
        self.in_half = False  # whether a gradient passed half precision there
        # Whether to differentiate updates in the optimizer's options on the way back.
        self.in_options = False
        self.stopping = StoppingSteps()
        self._known: set[tuple[int, ...]] = set()
        parameters = [p for module in objective.modules for p in module.parameters()]
        self.tolerance = rounding_tolerance(parameters)
        self.eps = live.layout.eps(live.parameters)

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

    def advance(self, step: StepRecord, weights: Tensor | None = None) -> Tensor:
        """Take the step from the private copy's present state, see :meth:`forward`.

        Returns
        -------
        Tensor of shape ()
            The batch loss without the `weights`.
        """
        optimizer = self.live.optimizer
        for group, hyperparameters in zip(
            optimizer.param_groups, step.hyperparameters, strict=True
        ):
            group.update(_like_own(group, hyperparameters))
        clear_gradients(optimizer)
        self.objective.train(True)
        loss = self._descend(step, weights)
        for position, parameter in enumerate(self.live.parameters):
            if position not in step.active:
                parameter.grad = None
            elif parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if step.clipping is not None:
            self._clip(step.clipping, [self.live.parameters[k] for k in step.active])
        optimizer.step()
        return loss

    def _descend(self, step: StepRecord, weights: Tensor | None) -> Tensor:
        """Give the parameters the gradient of the batch loss; return the loss."""
        batches = step.micro_batches()
        own: Sequence[Tensor | None] = [None] * len(batches)
        if weights is not None:
            own = weights.split([len(batch.rows) for batch in batches], dim=-1)
        totals = []
        # One after the other, as in training: each is freed before the next begins.
        for place in self.ranks.own(range(len(batches))):
            batch, factors = batches[place], own[place]
            with self.kernels, seeded(batch.seed, self.device):
                losses, coefficients = self._batch_losses(batch)
                along = coefficients if factors is None else factors * coefficients
                descend(losses, along.to(losses))
            totals.append(_total(losses, coefficients))
        return self._descended(step, _added(totals))

    def _descended(self, step: StepRecord, loss: Tensor) -> Tensor:
        """Add up what the ranks have, each of its own micro-batches."""
        if self.ranks.number == 1:
            return loss
        active = [self.live.parameters[k] for k in step.active]
        own = [torch.zeros_like(p) if p.grad is None else p.grad for p in active]
        loss, *gradients = self.ranks.total([loss, *own])
        for parameter, gradient in zip(active, gradients, strict=True):
            parameter.grad = gradient
        return loss

    @torch.no_grad()
    def loss_at(self, state: State, step: StepRecord) -> Tensor:
        """Return the loss of a step's batch at any state, in training mode."""
        self.live.show(state)
        self.objective.train(True)
        totals = []
        for batch in step.micro_batches():
            with seeded(batch.seed, self.device):
                totals.append(_total(*self._batch_losses(batch)))
        return _added(totals)

    def start(self, state: State) -> None:
        """Set the private copy to a state of the recorded run."""
        self.live.write(state)

    def each(self, function: Callable[..., Tensor], *stacks: Tensor) -> Tensor:
        """Return a function of the modules, with an axis of runs if there are many."""
        return function(*stacks)

    def _batch_losses(self, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        return self.objective.batch_losses(batch)

    def _clip(self, clipping: Clipping, parameters: Sequence[Tensor]) -> None:
        clipping.clip_(parameters)

    def backward(
        self,
        state: State,
        step: StepRecord,
        adjoint: Adjoint,
    ) -> Retaken:
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
        Retaken
            The slopes, the adjoint of the state before the step, and what shows
            whether it is the recorded step.
        """
        with self.kernels:
            return self._pull(state, step, adjoint, *self._linearize(state, step))

    def backwards(
        self,
        stretch: Sequence[Around],
        adjoint: Adjoint,
        asked: Sequence[Tensor | None],
    ) -> tuple[Sequence[Retaken | RetakenTogether], Adjoint]:
        """Pull the adjoint back through several steps, the last of them first.

        Parameters
        ----------
        stretch : sequence of (StepRecord, State, State)
            The steps with the states before and after each, the last step first; no
            more than `at_once`.
        adjoint : mapping of str to Tensor of shape (p,) or (q, p)
            ∂Q/∂s after the last step; empty where the way back begins.
        asked : sequence of Tensor of shape (p,) or (q, p), or None
            What the query at the state after each step adds to ∂Q/∂θ there.

        Returns
        -------
        retaken : sequence of Retaken or RetakenTogether
            The steps, pulled back.
        adjoint : mapping of str to Tensor of shape (p,) or (q, p)
            ∂Q/∂s before the first step.
        """
        return one_by_one(self.backward, stretch, adjoint, asked)

    def _linearize(self, state: State, step: StepRecord) -> Linearization:
        """Return the step's gradient at a state, and what differentiates it further."""
        batches = step.micro_batches()
        parts, graphs, losses, coefficients = self._watched_losses(state, step)
        own = [self.live.parameters[k] for k in step.active]
        gradients = weighted_gradients(losses, coefficients, own, None)
        loss, *raw = self.ranks.total([_total(losses, coefficients), *gradients])
        seen, unclipped = _clipped(step.clipping, raw)

        def pull(direction: Tensor) -> Pulled:
            directions = self.live.layout.split(direction)
            found = derivatives_along(
                gradients,
                [*(part.leaf for part in parts), *self.live.parameters],
                unclipped([directions[k] for k in step.active]),
            )
            slopes = [self._slopes(*each) for each in zip(found, parts, strict=False)]
            gradient = self._flat_gradient(step, seen)
            self._note_graphs(step, graphs, gradient, losses)
            through = self.live.layout.flatten(found[len(parts) :])
            every = self._at_their_places(slopes, batches)
            slopes_of_all, through = self.ranks.total([every, through])
            return Pulled(slopes_of_all, through, gradient, loss)

        return lambda: self._flat_gradient(step, seen), pull

    def _watched_losses(
        self, state: State, step: StepRecord
    ) -> tuple[list[LeafLosses], tuple[int, ...], Tensor, Tensor]:
        """Return the losses at a state: of each batch, their graphs, and joined."""
        self.live.show(state)
        self.objective.train(True)
        parts, watch = [], self.stopping.watch(step)
        for batch in self.ranks.own(step.micro_batches()):
            with seeded(batch.seed, self.device), self._kinks, watch:
                parts.append(self._leaf_losses(batch))
        graphs = tuple(structure(part.losses) for part in parts)
        losses = _joined([part.losses for part in parts])
        self.stopping.note(step, graphs, losses)
        return parts, graphs, losses, _joined([part.coefficients for part in parts])

    def _at_their_places(
        self, slopes: Sequence[Tensor], batches: Sequence[MicroBatch]
    ) -> Tensor:
        """Return the slopes of all samples: 0 for those of other ranks."""
        if self.ranks.number == 1:
            return _joined(slopes)
        every = [
            slopes[0].new_zeros(*slopes[0].shape[:-1], len(b.rows)) for b in batches
        ]
        every[self.ranks.rank :: self.ranks.number] = slopes
        return _joined(every)

    def _note_graphs(
        self,
        step: StepRecord,
        graphs: tuple[int, ...],
        gradient: Tensor,
        losses: Tensor,
    ) -> None:
        # For those of other ranks, which look at them, this one's first stands.
        every = [graphs[0]] * len(step.micro_batches())
        every[self.ranks.rank :: self.ranks.number] = graphs
        self.graphs[step.step] = tuple(every)
        if graphs not in self._known:
            self._known.add(graphs)
            self.reached |= gradient != 0
            self.in_half |= passes_narrower(losses, torch.float32)

    def _leaf_losses(self, batch: MicroBatch) -> LeafLosses:
        """Return losses, coefficients, and the leaf to differentiate in."""
        losses, coefficients = self.objective.batch_losses(batch)
        return LeafLosses(losses, coefficients, coefficients.requires_grad_())

    def _slopes(self, found: Tensor, of: LeafLosses) -> Tensor:
        """Turn the derivatives in the leaf into the slopes that the step returns."""
        return found * of.coefficients.detach()

    def _pull(
        self,
        state: State,
        step: StepRecord,
        adjoint: Adjoint,
        gradient: Callable[[], Tensor],
        pull: Callable[[Tensor], Pulled],
    ) -> Retaken:
        """Linearize the update, and pull the adjoint through it and its gradient."""
        updates = self._updates(state, step, gradient)
        return self._pull_through(updates, state, adjoint, pull)

    def _pull_through(
        self,
        updates: Sequence[Update],
        state: State,
        adjoint: Adjoint,
        pull: Callable[[Tensor], Pulled],
    ) -> Retaken:
        """Pull the adjoint through the update, and then through its gradient."""
        before, direction = self._pull_updates(updates, state, adjoint)
        pulled = pull(direction)
        before[PARAMETERS] = before[PARAMETERS] + pulled.through
        return Retaken(
            pulled.loss,
            pulled.gradient,
            updates,
            pulled.slopes,
            before,
            direction,
            adjoint,
        )

    def before_clipping(
        self, state: State, step: StepRecord, direction: Tensor
    ) -> Tensor:
        """Pull a slope in the clipped gradient back to the gradient of the batch loss.

        Parameters
        ----------
        state : State
            What the step began from.
        step : StepRecord
            The record of the step.
        direction : Tensor of shape (p,)
            ∂Q/∂g, where g is the gradient that the optimizer saw.

        Returns
        -------
        Tensor of shape (p,)
            The same for the gradient before clipping.
        """
        if step.clipping is None:
            return direction
        self.live.show(state)
        clear_gradients(self.live.optimizer)
        self.objective.train(True)
        self._descend(step, None)
        every = [
            (torch.zeros_like(p) if p.grad is None else p.grad).requires_grad_()
            for p in self.live.parameters
        ]
        raw = [every[k] for k in step.active]
        along = self.live.layout.split(direction)
        own = differentiate(
            step.clipping.clip(raw), every, [along[k] for k in step.active]
        )
        return self.live.layout.flatten(own)

    def activation_bytes(self, step: StepRecord) -> int:
        """Return how many bytes the forward pass saves for the backward pass."""
        kept = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal kept
            kept += 0 if tensor.is_sparse else tensor.nbytes
            return tensor

        saved = torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor)
        # Modules that use torch.func do not allow such hooks.
        with suppress(RuntimeError), self._kinks, saved:
            for batch in step.micro_batches():
                with seeded(batch.seed, self.device):
                    self.objective.batch_losses(batch)
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
        with self.kernels:
            found = differentiate([values], self.live.parameters, [along])
        return self.live.layout.flatten(found)

    def derivative(self, values: Tensor, direction: Tensor) -> Tensor:
        """Differentiate per-sample values along a direction of the parameters.

        Parameters
        ----------
        values : Tensor of shape (n,)
            Computed from the parameters as they stand.
        direction : Tensor of shape (p,) or (q, p)
            The direction, or a stack of them.

        Returns
        -------
        Tensor of shape (n,) or (q, n)
        """
        weights = torch.ones_like(values, requires_grad=True)
        with self.kernels:
            gradients = weighted_gradients(values, weights, self.live.parameters, None)
            (found,) = derivatives_along(
                gradients, [weights], self.live.layout.split(direction)
            )
        return found

    def _flat_gradient(self, step: StepRecord, gradients: Sequence[Tensor]) -> Tensor:
        active = dict(zip(step.active, gradients, strict=True))
        every = [
            active[k].detach()
            if k in active
            # Not like the parameter: traced code would hold it.
            else torch.zeros(p.shape, dtype=p.dtype, device=p.device)
            for k, p in enumerate(self.live.parameters)
        ]
        return self.live.layout.flatten(every)

    def _updates(
        self, state: State, step: StepRecord, gradient: Callable[[], Tensor]
    ) -> list[Update]:
        """Linearize the optimizer's update at the step."""
        # Linear rules do not use the gradient: it need not be computed.
        point = state.parameters if self._is_linear(state, step) else gradient()
        return [
            block.linearize(state, point, self.in_options)
            for block in self._blocks(state, step)
        ]

    def _is_linear(self, state: State, step: StepRecord) -> bool:
        return all(block.rule.linear for block in self._blocks(state, step))

    def _pull_updates(
        self, updates: Sequence[Update], state: State, adjoint: Adjoint
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the adjoints of the old state and of the gradient."""
        pulled = [update.pull(adjoint) for update in updates]
        if updates[0].block.places is None:
            return pulled[0], pulled[0].pop(GRADIENT)
        # What the step did not touch passes through; what it touched is overwritten.
        like = adjoint[PARAMETERS]
        before = {name: torch.zeros_like(like) for name in state.moments}
        before.update((name, vector.clone()) for name, vector in adjoint.items())
        direction = torch.zeros_like(like)
        for update, own in zip(updates, pulled, strict=True):
            places = update.block.places
            direction[..., places] = own.pop(GRADIENT)
            for name, vector in before.items():
                vector[..., places] = own.get(name, 0.0)
        return before, direction

    def _blocks(self, state: State, step: StepRecord) -> list[Block]:
        # Most often the blocks are those of the step before.
        key = (id(step.hyperparameters), step.active, state.scalars)
        if key != self._division[0]:
            self._division = key, self._divide(state, step)
        return self._division[1]

    def _divide(self, state: State, step: StepRecord) -> list[Block]:
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
            blocks.append(Block(rule, places, scalars))
        return blocks

    def _rule(self, hyperparameters: Hyperparameters) -> UpdateRule:
        known = self._rules.get(id(hyperparameters))
        if known is None:
            rule = UpdateRule(type(self.live.optimizer), hyperparameters)
            known = self._rules[id(hyperparameters)] = hyperparameters, rule
        return known[1]


def one_by_one(
    backward: Callable[[State, StepRecord, Adjoint], Retaken],
    stretch: Sequence[Around],
    adjoint: Adjoint,
    asked: Sequence[Tensor | None],
) -> tuple[Sequence[Retaken], Adjoint]:
    """Pull the adjoint back through each of several steps, see `backwards`."""
    every = []
    for (step, before, _), more in zip(stretch, asked, strict=True):
        every.append(backward(before, step, with_more(adjoint, more)))
        adjoint = every[-1].adjoint
    return every, adjoint


def _like_own(group: Mapping[str, Any], recorded: Hyperparameters) -> Hyperparameters:
    """Return recorded values, as tensors where an optimizer's own are.

    The bits of its step depend on their dtypes.
    """
    tensors = {
        name: torch.full_like(own, recorded[name])
        for name, own in group.items()
        if isinstance(own, Tensor)
    }
    return {**recorded, **tensors} if tensors else recorded


def _clipped(
    clipping: Clipping | None, gradients: Sequence[Tensor]
) -> tuple[Sequence[Tensor], Callable[[Sequence[Tensor]], Sequence[Tensor]]]:
    """Return gradients, clipped, and what pulls directions back to the unclipped."""
    if clipping is None:
        return gradients, lambda directions: directions
    leaves = [gradient.detach().requires_grad_() for gradient in gradients]
    with torch.enable_grad():
        clipped = clipping.clip(leaves)
    return clipped, lambda directions: differentiate(clipped, leaves, directions)


def _total(losses: Tensor, coefficients: Tensor) -> Tensor:
    """Return the batch loss, as training sums it."""
    return losses.detach().flatten() @ coefficients.detach().flatten()


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """Return what belongs to the samples of micro-batches, one after the other."""
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim=-1)


def _added(totals: Sequence[Tensor]) -> Tensor:
    return totals[0] if len(totals) == 1 else torch.stack(list(totals)).sum()
