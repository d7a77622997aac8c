"""The backward pass of a training step, compiled once for each shape of batch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ._compiler import Call, CompiledFunctions, Flattened, Function, mixes
from ._derivatives import derivatives_along, weighted_gradients
from ._flat import PARAMETERS, LiveState, State
from ._functional import Functional
from ._gradient import CompiledGradient
from ._objective import Objective
from ._record import MicroBatch, StepRecord
from ._retaken import Adjoint, Retaken
from ._rounding import Tensors, close, same_loss
from ._step import Linearization, Pulled, TrainingStep


class CompiledStep(TrainingStep):
    """A training step whose backward pass is compiled.

    The gradient's derivatives are traced, derivative by derivative, to one graph of
    plain operations, which TorchInductor compiles. The first use of each is compared
    with the eager step; the step stays eager where compiling fails or the results
    differ. Never compiled are steps that draw random numbers (compiled code draws
    others), stacks of queries, and batches of another size that cannot be filled up
    with samples of weight 0.

    Parameters
    ----------
    objective, live : object
        As in :class:`TrainingStep`.
    batch_size : int
        Number of samples in the batches to compile for, the largest of the run.
    compiled : CompiledFunctions
        The functions compiled so far; more are added.
    """

    def __init__(
        self,
        objective: Objective,
        live: LiveState,
        batch_size: int,
        compiled: CompiledFunctions,
    ) -> None:
        super().__init__(objective, live)
        self.batch_size = batch_size
        self.compiled = compiled
        self._functional = Functional(objective.modules, live.parameters)
        self._gradient = CompiledGradient(
            objective.modules, objective.forward, objective.criterion, compiled
        )
        places = {p: k for k, p in enumerate(self._gradient.parameters)}
        self._places = [places[parameter] for parameter in live.parameters]
        self._all_stop: bool | None = None
        self._current: bool | None = None

    def _descend(self, step: StepRecord, weights: Tensor | None) -> Tensor:
        size = step.compiled_size
        if size is None:
            return super()._descend(step, weights)
        (rows,) = step.micro_batches()
        batch = self.objective.fetch(rows)
        wanted = [self._places[k] for k in step.active]
        return self._gradient(batch, len(step.rows), size, wanted, weights).loss

    def backward(self, state: State, step: StepRecord, adjoint: Adjoint) -> Retaken:
        """Pull the adjoint back through the step, see :class:`TrainingStep`."""
        if not self._compilable(state, step, adjoint):
            return super().backward(state, step, adjoint)
        self._note_stops(state, step)
        linearization = self._checked(self._call(state, step), state, step, adjoint)
        return self._pull(state, step, adjoint, *linearization)

    def _checked(
        self, call: Call, state: State, step: StepRecord, adjoint: Adjoint
    ) -> Linearization:
        """Return the compiled functions of the step, or its own if they differ."""
        use = "pull", call.key, call.size
        if use not in self.compiled.trusted:
            own = self._seen(self._linearize(state, step), state, step, adjoint)
            self.compiled.first_use(
                use,
                lambda: self._seen(
                    self._compiled(call, state, step), state, step, adjoint
                ),
                lambda seen: seen,
                own,
                "retrace",
            )
        if self.compiled.trusted[use]:
            return self._compiled(call, state, step)
        return self._linearize(state, step)

    def _note_stops(self, state: State, step: StepRecord) -> None:
        """Note whether a step may stop gradients: all do the same, compiled."""
        if self._all_stop is None:
            self._linearize(state, step)
            self._all_stop = step.step in self.stopping.found
        if self._all_stop:
            self.stopping.found.add(step.step)

    def _seen(
        self,
        linearization: Linearization,
        state: State,
        step: StepRecord,
        adjoint: Adjoint,
    ) -> list[Tensors]:
        """Return what the functions give along the adjoint.

        The optimizer's direction may be steepest where the gradient is rounding.
        """
        gradient, pull = linearization
        found = [] if self._is_linear(state, step) else [gradient()]
        found += pull(adjoint[PARAMETERS])
        return [[tensor] for tensor in found]

    def _compilable(self, state: State, step: StepRecord, adjoint: Adjoint) -> bool:
        return (
            step.seed is None
            and not step.sizes
            and step.scale == 1.0
            and adjoint[PARAMETERS].dim() == 1
            and len(state.scalars) == len(self.live.parameters)
            and (len(step.rows) == self.batch_size or self._pads(state, step))
            and self._is_current(state, step)
        )

    def _is_current(self, state: State, step: StepRecord) -> bool:
        """Whether the step is computed as it was when it was compiled.

        What is no part of a module, such as a net's own losses, shows in the loss.
        """
        if self._current is None:
            loss = float(self.loss_at(state, step))
            recorded = loss if step.loss is None else step.loss
            self._current = self.compiled.are_of(self.objective.modules)
            self._current &= same_loss(loss, recorded, self.tolerance)
        return self._current

    def _compiled(self, call: Call, state: State, step: StepRecord) -> Linearization:
        gradient, pull = self._traceable(call, step)

        def run(function: Function, *more: Tensor) -> Any:
            self.objective.train(True)
            return self.compiled.call(
                function,
                call.key,
                state.parameters,
                *call.tensors,
                *more,
                live=self._live(),
            )

        def run_pull(direction: Tensor) -> Pulled:
            slopes, *seen = run(pull, direction)
            return Pulled(slopes[: call.size], *seen)

        return lambda: run(gradient), run_pull

    def _traceable(self, call: Call, step: StepRecord) -> tuple[Function, Function]:
        """Return the gradient and its derivatives as functions of tensors alone."""
        active, clipping = step.active, step.clipping

        def gradients(flat: Tensor, arguments: Sequence[Tensor]) -> Any:
            # A leaf of its own, whatever is passed in.
            flat = flat.detach().requires_grad_()
            parameters = self.live.layout.split(flat)
            losses, coefficients = self._losses(call, parameters, arguments)
            own = [parameters[k] for k in active]
            coefficients.requires_grad_()
            found = weighted_gradients(losses, coefficients, own, clipping)
            return flat, found, coefficients, losses.detach() @ coefficients.detach()

        def gradient(flat: Tensor, *arguments: Tensor) -> Tensor:
            return self._flat_gradient(step, gradients(flat, arguments)[1])

        def pull(flat: Tensor, *arguments: Tensor) -> Sequence[Tensor]:
            *arguments, direction = arguments  # type: ignore[assignment]
            flat, found, weights, loss = gradients(flat, arguments)
            directions = self.live.layout.split(direction)
            along = [directions[k] for k in active]
            slopes, through = derivatives_along(found, [weights, flat], along)
            seen = self._flat_gradient(step, found), loss
            return slopes * weights.detach(), through, *seen

        return gradient, pull

    def _losses(
        self, call: Call, parameters: list[Tensor], arguments: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return losses and coefficients as a function of tensors alone."""
        count = len(call.data.tensors)
        # A forward pass may write to its inputs, which are given again.
        data = [tensor.clone() for tensor in arguments[:count]]
        inputs, targets = call.data.unflatten(data)
        mine = iter(arguments[count:])

        def losses() -> Tensor:
            outputs = self.objective.forward(inputs)
            return self.objective.criterion(outputs, targets, inputs)

        # Buffers may be written to: what is passed in stays as it is.
        own = [next(mine).clone() for _ in self.live.buffers]
        fixed = {name: next(mine) for name in self._functional.fixed}
        coefficients = next(mine)
        found = self._functional(parameters, own, losses, **fixed)
        return found, coefficients.to(found).detach()

    def _call(self, state: State, step: StepRecord) -> Call:
        return self._call_of(*self._fetch(self._filled(step)), state, step)

    def _live(self) -> list[Tensor]:
        """Return the tensors that the modules hold, for which others are given."""
        return [*self._gradient.parameters, *self.live.buffers]

    def _fetch(self, batch: MicroBatch) -> tuple[Flattened, Tensor | None]:
        inputs, targets, weights = self.objective.fetch(batch)
        return Flattened.of((inputs, targets), self.device), weights

    def _call_of(
        self, data: Flattened, weights: Tensor | None, state: State, step: StepRecord
    ) -> Call:
        size = len(step.rows)
        coefficients = self._gradient.coefficients(size, self.batch_size)
        if weights is not None:
            coefficients = coefficients * weights.to(coefficients)
        # Numbered, as the form would be hashed several times in every step.
        key = self.compiled.number(("pull", data.form, step.active, step.clipping))
        fixed = self._functional.fixed.values()
        every = (*data.tensors, *state.buffers, *fixed, coefficients)
        return Call(key, size, data, every)

    def _filled(self, step: StepRecord) -> MicroBatch:
        """Return a batch filled up to full size with its own samples."""
        (batch,) = step.micro_batches()
        size = len(batch.rows)
        if size == self.batch_size:
            return batch
        rows = batch.rows.repeat(-(-self.batch_size // size))[: self.batch_size]
        return replace(batch, rows=rows)

    def _pads(self, state: State, step: StepRecord) -> bool:
        """Whether other samples in the batch leave a sample's loss as it is."""
        if self.compiled.pads is None:
            mixed = mixes(self.objective.modules)
            self.compiled.pads = not mixed and self._ignores_others(state, step)
        return self.compiled.pads

    @torch.no_grad()
    def _ignores_others(self, state: State, step: StepRecord) -> bool:
        self.live.show(state)
        self.objective.train(True)
        (batch,) = step.micro_batches()
        alone, _ = self.objective.batch_losses(batch)
        filled, _ = self.objective.batch_losses(self._filled(step))
        return close([filled[: len(alone)]], [alone], 2 / 3)
