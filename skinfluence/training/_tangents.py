"""A training step that carries changes of its state forwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ._clipping import Clipping
from ._derivatives import (
    derivatives_along,
    differentiate,
    every_slope,
    weighted_gradients,
)
from ._flat import PARAMETERS, State
from ._record import StepRecord
from ._retaken import Linearized, Update
from ._step import TrainingStep, _total
from ._update import GRADIENT

Tangent = Mapping[str, Tensor]
"""A change of the state: ``"parameters"`` and each moment's name -> (q, p)."""


@dataclass(frozen=True, slots=True)
class Pushed(Linearized):
    """A step pushed forward, and what shows whether it is the recorded one.

    Attributes
    ----------
    tangent : mapping of str to Tensor of shape (q, p)
        The changes of the state after the step.
    """

    tangent: Tangent


class TangentStep(TrainingStep):
    """The transpose of :meth:`TrainingStep.backward`: changes of the state go forwards.

    Cheaper than the way back where there are fewer samples than queries.
    """

    def push(
        self, state: State, step: StepRecord, tangent: Tangent, rates: Tensor
    ) -> Pushed:
        """Push changes of the state before the step, and of the weights, through it.

        Parameters
        ----------
        state : State
            What the step began from.
        step : StepRecord
            The record of the step.
        tangent : mapping of str to Tensor of shape (q, p)
            The changes of that state.
        rates : Tensor of shape (q, batch)
            Those of the weights w_i of the batch's samples.

        Returns
        -------
        Pushed
            The changes of the state after the step.
        """
        with self.kernels:
            _, graphs, losses, coefficients = self._watched_losses(state, step)
            every = self.live.parameters
            active = [every[k] for k in step.active]
            gradients = weighted_gradients(losses, coefficients, every, None)
            # The Hessian is symmetric: its rows of all parameters, in the active ones.
            moved = derivatives_along(
                gradients, active, self.live.layout.split(tangent[PARAMETERS])
            )
            own = rates.any(dim=1).nonzero().flatten()
            if len(own):
                along = rates[own] * coefficients.detach()
                for change, added in zip(
                    moved, differentiate([losses], active, [along]), strict=True
                ):
                    change[own] += added
            raw = [gradients[k].detach() for k in step.active]
            seen, changes = _clipped_along(step.clipping, raw, moved)
        gradient = self._flat_gradient(step, seen)
        self._note_graphs(step, graphs, gradient, losses)
        updates = self._updates(state, step, lambda: gradient)
        of_gradient = self._stacked(step, changes, len(rates))
        after = _push_updates(updates, tangent, of_gradient)
        return Pushed(_total(losses, coefficients), gradient, updates, after)

    def _stacked(
        self, step: StepRecord, changes: Sequence[Tensor], count: int
    ) -> Tensor:
        """Return changes of the active parameters' gradients, (q, p)."""
        active = dict(zip(step.active, changes, strict=True))
        every = [
            active[k] if k in active else parameter.new_zeros(count, *parameter.shape)
            for k, parameter in enumerate(self.live.parameters)
        ]
        return self.live.layout.flatten(every).detach()


def _clipped_along(
    clipping: Clipping | None, gradients: Sequence[Tensor], changes: Sequence[Tensor]
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return gradients, clipped, and how these change with the unclipped ones."""
    if clipping is None:
        return gradients, changes
    leaves = [gradient.requires_grad_() for gradient in gradients]
    with torch.enable_grad():
        clipped = clipping.clip(leaves)
        along = [torch.ones_like(each, requires_grad=True) for each in clipped]
        # Linear in `along`: its derivative in it is the transpose of what it pulls.
        pulled = every_slope(clipped, leaves, along, create_graph=True)
    return [each.detach() for each in clipped], differentiate(pulled, along, changes)


def _push_updates(
    updates: Sequence[Update], tangent: Tangent, of_gradient: Tensor
) -> dict[str, Tensor]:
    """Return the changes of the state after the optimizer's update."""
    pushed = [update.push({**tangent, GRADIENT: of_gradient}) for update in updates]
    if updates[0].block.places is None:
        return pushed[0]
    # What the step did not touch passes through; what it touched is overwritten.
    names = dict.fromkeys([*tangent, *(name for own in pushed for name in own)])
    after = {
        name: tangent[name].clone()
        if name in tangent
        else torch.zeros_like(of_gradient)
        for name in names
    }
    for update, own in zip(updates, pushed, strict=True):
        for name, vector in after.items():
            vector[..., update.block.places] = own.get(name, 0.0)
    return after
