"""Gradients of single samples, and products with the Hessian of the objective."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.utils._pytree import tree_map

from ..estimators import FinalModel
from ..influence import Query
from ..training import Batch, FlatLayout, Functional, Objective

# Limit for the per-sample gradients that are held at once.
_GRADIENT_BYTES = 2**28


class SampleGradients:
    """Derivatives of single samples' losses at the modules' current parameters.

    Parameters
    ----------
    objective : Objective
        Computes the losses.
    parameters : sequence of Tensor
        The parameters with respect to which the losses are differentiated.
    """

    def __init__(self, objective: Objective, parameters: Sequence[Tensor]) -> None:
        self.objective = objective
        self.parameters = list(parameters)
        self.layout = FlatLayout.of(parameters)
        self._functional = Functional(objective.modules, self.parameters)

    @property
    def at_once(self) -> int:
        """How many samples' gradients fit in memory."""
        largest = max(parameter.element_size() for parameter in self.parameters)
        return max(1, _GRADIENT_BYTES // (self.layout.size * largest))

    def losses(self, batch: Batch) -> Tensor:
        """Return the losses of a batch, (b,)."""
        inputs, targets, _ = batch
        return self.objective.criterion(self.objective.forward(inputs), targets, inputs)

    def flat(self, values: Tensor, along: Tensor, *, graph: bool = False) -> Tensor:
        """Differentiate ⟨along, values⟩ with respect to the parameters: (p,)."""
        return self.layout.flatten(
            torch.autograd.grad(
                values,
                self.parameters,
                along,
                create_graph=graph,
                materialize_grads=True,
            )
        )

    def dots(self, batch: Batch, direction: Tensor) -> Tensor:
        """Return ⟨direction, g_i⟩ of each sample of a batch, (b,)."""
        losses = self.losses(batch)
        # One backward pass instead of b: the batch gradient is linear in the weights of
        # the losses, and its derivative with respect to the i-th is ⟨direction, g_i⟩.
        weights = torch.ones_like(losses).requires_grad_()
        along = self.flat(losses, weights, graph=True) @ direction
        return torch.autograd.grad(along, weights)[0]

    def curved(self, batch: Batch, weights: Tensor, direction: Tensor) -> Tensor:
        """Return the Gauss-Newton matrix of weighted losses times a direction, (p,).

        That is JᵀHJ, with J the derivative of the outputs in the parameters, and H that
        of the losses in the outputs, twice.
        """
        inputs, targets, _ = batch
        outputs = self.objective.forward(inputs)
        if not isinstance(outputs, Tensor):
            raise TypeError(
                "The module must return one tensor for a Gauss-Newton matrix, got "
                f"{type(outputs).__name__}. Use a scorer that needs none."
            )
        # ⟨u, J direction⟩ is linear in u: its derivative is J direction.
        u = torch.zeros_like(outputs, requires_grad=True)
        along = self.flat(outputs, u, graph=True) @ direction
        (moved,) = torch.autograd.grad(along, u, retain_graph=True)
        at = outputs.detach().requires_grad_()
        losses = self.objective.criterion(at, targets, inputs)
        (slopes,) = torch.autograd.grad(losses, at, weights, create_graph=True)
        # A loss that is linear in the outputs has no second derivative.
        if not slopes.requires_grad:
            return torch.zeros_like(direction)
        return self.flat(outputs, torch.autograd.grad(slopes, at, moved)[0])

    def each(self, batch: Batch) -> Tensor:
        """Return the gradients of the samples of a batch, (b, p)."""
        (x, fit_params), y, _ = batch
        buffers = tuple(self.objective.buffers)

        def loss(parameters: tuple[Tensor, ...], x: object, y: object) -> Tensor:
            # Modules expect the batch axis, which vmap removes.
            x, y = tree_map(lambda value: value.unsqueeze(0), (x, y))
            one = ((x, fit_params), y, None)
            losses: Tensor = self._functional(parameters, buffers, self.losses, one)
            return losses[0]

        parameters = tuple(parameter.detach() for parameter in self.parameters)
        gradients = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
        return torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)


class FinalGradients(SampleGradients):
    """Derivatives for a fitted estimator's final model, training and validation data.

    Parameters
    ----------
    model : FinalModel
        The trained model.
    """

    def __init__(self, model: FinalModel) -> None:
        super().__init__(model.objective, model.parameters)
        self.model = model
        self.n_trained = len(model.trained)
        self.penalty = self.layout.flatten(
            [
                torch.full_like(parameter, decay)
                for parameter, decay in zip(
                    model.parameters, model.weight_decay, strict=True
                )
            ]
        ).detach()

    def of_query(self, query: Query) -> Tensor:
        """Return the gradient of a query, (p,)."""
        parts = [self.flat(values, weights) for values, weights in query.values()]
        return torch.stack(parts).sum(0)

    def hessian_product(self, direction: Tensor, batches: Sequence[Tensor]) -> Tensor:
        """Return the objective's Hessian times a direction, (p,).

        The objective is the mean loss over the rows of the batches plus the L2 penalty.
        """
        count = sum(map(len, batches))
        total = self.penalty * direction
        for rows in batches:
            batch = self.model.fetch(rows)
            losses = self.losses(batch)
            weights = weights_of(batch, losses) / count
            along = self.flat(losses, weights, graph=True) @ direction
            # A loss that is linear in the parameters has no second derivative.
            if along.requires_grad:
                total += self.flat(along, torch.ones_like(along))
        return total

    def all_dots(self, direction: Tensor) -> Tensor:
        """Return ⟨direction, c_i g_i⟩ of each sample, (n_samples,); 0 if untrained."""
        products = direction.new_zeros(self.model.n_samples)
        for rows in self.model.batches:
            batch = self.model.fetch(rows)
            dots = self.dots(batch, direction)
            products[rows] = weights_of(batch, dots) * dots
        return products

    def matrix(self) -> tuple[Tensor, Tensor]:
        """Return the trained samples' g_i, (n, p), and their √c_i, (n,)."""
        gradients, weights = [], []
        for rows in self.model.batches:
            for part in rows.split(self.at_once):
                batch = self.model.fetch(part)
                gradients.append(self.each(batch))
                weights.append(weights_of(batch, gradients[-1]).sqrt())
        return torch.cat(gradients), torch.cat(weights)


def weights_of(batch: Batch, like: Tensor) -> Tensor:
    """Return the c_i of a batch's samples, (b,)."""
    weights = batch[2]
    return like.new_ones(len(like)) if weights is None else weights.to(like)
