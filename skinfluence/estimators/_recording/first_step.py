"""What is found out on the first batch, before anything is trained."""

from collections.abc import Sequence
from dataclasses import replace
from operator import is_
from typing import Any

import numpy as np
import torch
from skorch.dataset import unpack_data
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...exceptions import UnsupportedModuleError
from ...training import (
    Batch,
    MicroBatch,
    Objective,
    check_second_derivative,
    few,
    other_generators,
    rounding_tolerance,
    same_loss,
    seeded,
)
from .._copies import check_hooks, check_scripted
from .._net import InfluenceNet, net_modules
from .._replica import Replica, objective_of


def check_first_step(
    net: InfluenceNet, loaded: Any, batch: MicroBatch, parameters: Sequence[Tensor]
) -> None:
    """Refuse what cannot be repeated, or not be retraced, from its first step.

    Parameters
    ----------
    net : InfluenceNet
        The net, before its first step.
    loaded : object
        The first batch as its loader gave it.
    batch : MicroBatch
        What is recorded of it.
    parameters : sequence of Tensor
        The parameters to be trained.

    Raises
    ------
    UnsupportedModuleError
        If the loss is another one when it is computed again, or its gradient does not
        have the derivative that autograd gives it.
    TypeError
        If a copy of the modules would lack something.
    ValueError
        If the batch is another one when it is loaded again.
    """
    modules = net_modules(net)
    check_scripted(modules)
    check_hooks(modules)
    replica = Replica(net)
    _check_repeatable(replica, loaded, batch)
    if net.retraceable_:
        check_second_derivative(
            objective_of(net),
            parameters,
            few(batch),
            remedy="Use record='replay' for the exact counterfactual_influence alone, "
            "or record=None to train without influence.",
        )
        _check_reached(replica, batch)
    # A repetition alone follows what is written to the parameters in the states.
    states = () if net.retraceable_ else parameters
    _check_written(replica, batch, _places(modules, states))


def _check_repeatable(replica: Replica, loaded: Any, batch: MicroBatch) -> None:
    """Compute the loss twice, on a copy: as training will, and as its repetition."""
    objective = replica.objective
    again = objective.fetch(batch)
    (fetched, fit_params), fetched_targets, weights = again
    inputs, targets = pytree.tree_map_only(Tensor, torch.clone, unpack_data(loaded))
    _check_same((inputs, targets), (fetched, fetched_targets))
    given = (inputs, fit_params), targets, weights
    device = torch.device(replica.net.device)
    tensors = _tensors(objective)
    start = [tensor.detach().clone() for tensor in tensors]
    first, drew = _loss(objective, given, batch, device)
    _check_bound(_tensors(objective), tensors)
    _write(tensors, start)
    second, drew_again = _loss(objective, again, batch, device)
    # Another thread may have drawn meanwhile, but hardly both times.
    if drew and drew_again:
        raise UnsupportedModuleError(
            "`forward` and `get_losses` must draw from torch's global generators "
            "alone, which are set again when a step is repeated, but they drew from "
            "NumPy's or Python's. Draw with torch (`torch.rand(())`), or use "
            "record=None to train without influence."
        )
    if not same_loss(second, first, rounding_tolerance(tensors)):
        raise UnsupportedModuleError(
            "The training loss must be the same when it is computed again from the "
            "same batch, parameters, buffers and seed of torch's global generators, "
            f"got {first:.6g} and then {second:.6g}: `forward` or `get_losses` draws "
            "from a generator of its own, or keeps a state that is neither a parameter "
            "nor a buffer, such as a counter. Draw from torch's global generators and "
            "register the state as a buffer, or use record=None to train without "
            "influence."
        )


def _check_same(data: Any, other: Any) -> None:
    """Refuse a batch that is another one when it is loaded again."""
    mine, theirs = _arrays(data), _arrays(other)
    if len(mine) != len(theirs) or not all(map(_equal, mine, theirs)):
        raise ValueError(
            "`iterator_train` must load the same batch again under the same seeds of "
            "torch's, NumPy's and Python's global generators, but the first batch was "
            "another one, as if the loader, its `collate_fn` or the Dataset that "
            "`train_split` returns changed it or drew from a generator of its own. "
            "Draw from the global generators, in a Dataset or in "
            "`iterator_train__collate_fn`, or train without influence (record=None)."
        )


def _arrays(data: Any) -> list[Tensor]:
    leaves = pytree.tree_leaves(data)
    arrays = (x for x in leaves if isinstance(x, (Tensor, np.ndarray)))
    return [torch.as_tensor(x).to_dense() for x in arrays]


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    missing = (one != one) & (other != other)
    return bool(((one == other) | missing).all())


def _tensors(objective: Objective) -> list[Tensor]:
    return [t for m in objective.modules for t in (*m.parameters(), *m.buffers())]


def _loss(
    objective: Objective, data: Batch, batch: MicroBatch, device: torch.device
) -> tuple[float, bool]:
    """Return the batch loss, and whether generators other than torch's were used."""
    own = replace(objective, fetch=lambda _: data)
    own.train(True)
    with seeded(batch.seed, device):
        before = other_generators()
        losses, coefficients = own.batch_losses(batch)
        return float(losses.detach() @ coefficients), other_generators() != before


def _check_bound(now: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    """Refuse a forward pass that gives names to other tensors."""
    if len(now) != len(before) or not all(map(is_, now, before)):
        raise UnsupportedModuleError(
            "Buffers must be written to in place (`self.mean.copy_(...)`) and "
            "registered in `__init__`, but the forward pass binds others to their "
            "names, which a state does not hold. Write to them in place, or use "
            "record=None to train without influence."
        )


def _check_reached(replica: Replica, batch: MicroBatch) -> None:
    """Refuse parameters that a backward pass reaches and a repeated step does not."""
    objective = replica.objective
    named = {p: name for m in objective.modules for name, p in m.named_parameters()}
    trained = [p for p in named if p.requires_grad]
    objective.train(True)
    with seeded(batch.seed, torch.device(replica.net.device)):
        losses, coefficients = objective.batch_losses(batch)
        loss = losses @ coefficients
        if not loss.requires_grad:  # training says so
            return
        found = torch.autograd.grad(loss, trained, retain_graph=True, allow_unused=True)
        loss.backward()
    for parameter, gradient in zip(trained, found, strict=True):
        if gradient is None and parameter.grad is not None:
            raise UnsupportedModuleError(
                f"The gradient of `{named[parameter]}` must be one that "
                "torch.autograd.grad finds, but only a backward pass does, as with "
                "torch.utils.checkpoint(use_reentrant=True). Set use_reentrant=False, "
                "or use record=None to train without influence."
            )


def _places(modules: Sequence[nn.Module], parameters: Sequence[Tensor]) -> set[int]:
    """Return the places of some parameters among all of the modules."""
    some = set(parameters)
    every = dict.fromkeys(p for module in modules for p in module.parameters())
    return {place for place, parameter in enumerate(every) if parameter in some}


def _check_written(replica: Replica, batch: MicroBatch, allowed: set[int]) -> None:
    """Refuse a forward pass that writes to parameters, where these have moved."""
    objective = replica.objective
    device = torch.device(replica.net.device)
    named = {p: name for m in objective.modules for name, p in m.named_parameters()}
    draws = torch.Generator().manual_seed(0)
    moved = [p * (1 + 1e-3 * torch.rand((), generator=draws).to(p)) for p in named]
    _write([*named], moved)
    _loss(objective, objective.fetch(batch), batch, device)
    for place, (parameter, name) in enumerate(named.items()):
        if place not in allowed and not torch.equal(parameter, moved[place]):
            raise UnsupportedModuleError(
                f"The parameter `{name}` must be changed by the optimizer alone, but "
                "the forward pass writes to it, such as to an average of weights. Use "
                "record=None to train without influence."
            )


@torch.no_grad()
def _write(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
