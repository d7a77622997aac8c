"""Runs repeated step by step in plain PyTorch, with dense matrices of every step."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, jacrev

from tests.oracles import Run, rows_of


@dataclass
class PlainStep:
    """A step: the model before and after it, and what it used."""

    epoch: int
    rows: list[int]
    before: nn.Module
    after: nn.Module
    # Of each parameter, with momentum accounted for.
    rates: np.ndarray
    penalty: float


def plain_steps(run: Run, X, loss, c=None) -> Iterator[PlainStep]:
    """Train again, and yield the steps; the samples' weights c have mean 1."""
    module, optimizer = copy.deepcopy((run.module, run.optimizer))
    c = torch.ones(len(X), dtype=torch.float64) if c is None else torch.from_numpy(c)
    for t, (x, y) in enumerate(run.batches):
        for group, options in zip(optimizer.param_groups, run.groups[t], strict=True):
            group.update(options)
        rows, before = rows_of(x, X), copy.deepcopy(module)
        optimizer.zero_grad()
        ((loss(module(x), y) * c[rows]).sum() / len(x)).backward()
        optimizer.step()
        groups = {
            id(parameter): group
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        rates = np.concatenate(
            [
                np.full(p.numel(), g["lr"] / (1 - g["momentum"]))
                for p in module.parameters()
                for g in [groups[id(p)]]
            ]
        )
        penalty = optimizer.param_groups[0]["weight_decay"]
        after = copy.deepcopy(module)
        yield PlainStep(run.epochs[t], rows, before, after, rates, penalty)


def flat(parts) -> np.ndarray:
    """Return a matrix of what is differentiated, one row for each value."""
    return torch.cat([part.flatten(1) for part in parts.values()], 1).numpy()


def sample_gradients(module: nn.Module, X, y, loss) -> np.ndarray:
    """Return the gradient of each sample's loss, (n, p)."""
    parameters = {k: v.detach() for k, v in module.named_parameters()}
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    return flat(jacrev(lambda p: loss(functional_call(module, p, X), y))(parameters))


def gauss_newton(module: nn.Module, X, y, loss) -> np.ndarray:
    """Return the Gauss-Newton matrix of each sample's loss, (n, p, p)."""
    parameters = {k: v.detach() for k, v in module.named_parameters()}
    matrices = []
    for x, target in zip(torch.from_numpy(X), torch.from_numpy(y), strict=True):
        jacobian = flat(
            jacrev(lambda p, x=x: functional_call(module, p, x[None])[0])(parameters)
        )
        outputs = module(x[None])[0].detach()
        slopes = jacrev(lambda o, target=target: loss(o[None], target[None])[0])
        curvature = jacrev(slopes)(outputs).numpy()
        matrices.append(jacobian.T @ curvature @ jacobian)
    return np.array(matrices)
