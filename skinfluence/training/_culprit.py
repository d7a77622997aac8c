"""Which submodule it is, or whether it is the loss, that an objective's fault is in."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ._borrowed import borrowed
from ._objective import Objective
from ._randomness import seeded
from ._record import MicroBatch

FindsFault = Callable[[Objective, Sequence[Tensor], int], object | None]
"""``finds_fault(objective, parameters, seed)``: what is wrong, or None."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a function, with tensors of its own."""

    function: Callable[..., Any]
    arguments: tuple[tuple[Any, ...], dict[str, Any]]

    @property
    def leaves(self) -> list[Tensor]:
        """The arguments to differentiate in: activations, not data."""
        every = pytree.tree_leaves(self.arguments)
        return [t for t in every if isinstance(t, Tensor) and t.requires_grad]

    def __call__(self, *_: Any) -> Any:
        # Leaves must not be written to.
        args, kwargs = pytree.tree_map_only(Tensor, torch.clone, self.arguments)
        return self.function(*args, **kwargs)

    def objective(self, whole: Objective) -> Objective:
        """Return an objective that depends on nothing but this call."""
        return replace(
            whole,
            forward=self,
            criterion=lambda outputs, *_: _curved(outputs),
            fetch=lambda *_: (None, None, None),
        )


def culprit(
    objective: Objective,
    parameters: Sequence[Tensor],
    seed: int,
    finds_fault: FindsFault,
    double: bool,
) -> str:
    """Return the name of the innermost part that has a fault on what it was given.

    Parameters
    ----------
    objective : Objective
        The objective that has a fault.
    parameters : sequence of Tensor
        The parameters to be trained.
    seed : int
        Seed of what the step draws.
    finds_fault : callable
        Tells whether an objective has one.
    double : bool
        Whether to call the parts in double precision.

    Returns
    -------
    str
        The module's path and type, or "the loss".
    """
    modules, loss = _calls(objective, parameters, seed, double)
    trained = set(parameters)

    def faulty(call: _Call, own: Sequence[Tensor]) -> bool:
        alone = call.objective(objective)
        return finds_fault(alone, [*own, *call.leaves], seed) is not None

    def innermost(module: nn.Module, path: str) -> str | None:
        call = modules.get(module)
        own = [p for p in module.parameters() if p in trained]
        if call is not None and not faulty(call, own):
            return None
        for name, child in module.named_children():
            if found := innermost(child, f"{path}.{name}" if path else name):
                return found
        return None if call is None else _name(module, path)

    found = (innermost(module, "") for module in objective.modules)
    if name := next(filter(None, found), None):
        return name
    if loss and faulty(loss[0], []):
        return "the loss"
    return "the forward pass"


def _name(module: nn.Module, path: str) -> str:
    kind = type(module).__name__
    return f"`{path}` ({kind})" if path else f"`{kind}`"


def _calls(
    objective: Objective, parameters: Sequence[Tensor], seed: int, double: bool
) -> tuple[dict[nn.Module, _Call], list[_Call]]:
    """Return the first call of each module, and those of the criterion."""
    modules: dict[nn.Module, _Call] = {}
    loss: list[_Call] = []

    def note(module: nn.Module, args: Any, kwargs: Any) -> None:
        if module not in modules:
            modules[module] = _Call(module, _own((args, kwargs)))

    def criterion(*args: Any) -> Tensor:
        loss.append(_Call(objective.criterion, _own((args, {}))))
        return own.criterion(*args)

    with ExitStack() as stack:
        own = stack.enter_context(borrowed(objective, parameters, double))
        for module in (part for m in objective.modules for part in m.modules()):
            if isinstance(module, torch.jit.ScriptModule):
                continue  # these take no hooks
            hook = module.register_forward_pre_hook(
                note, prepend=True, with_kwargs=True
            )
            stack.callback(hook.remove)
        stack.enter_context(seeded(seed, parameters[0].device))
        objective.train(True)
        replace(own, criterion=criterion).batch_losses(MicroBatch(0, torch.empty(0)))
    return modules, loss


def _own(arguments: Any) -> Any:
    return pytree.tree_map_only(
        Tensor,
        lambda t: t.detach().clone().requires_grad_(t.requires_grad),
        arguments,
    )


def _curved(outputs: Any) -> Tensor:
    """Return a loss that depends on all outputs, and not linearly."""
    every = [t for t in pytree.tree_leaves(outputs) if isinstance(t, Tensor)]
    parts = [torch.view_as_real(t) if t.is_complex() else t for t in every]
    moving = [part.flatten() for part in parts if part.requires_grad]
    if not moving:
        return torch.zeros(1)
    values = torch.cat(moving)
    weights = torch.cos(torch.arange(len(values), device=values.device).to(values))
    return (weights * (values + values.square())).sum().reshape(1)
