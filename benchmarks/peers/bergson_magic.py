"""bergson: MAGIC, the metagradient through the whole training run."""

import copy
import tempfile
from typing import Any

import numpy as np
import torch
import torchopt
from bergson.magic import BackwardState, Trainer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchopt.pytree import tree_iter

from .problem import Method, Problem


class Stream:
    """The shared batches in the form of bergson's DataStream."""

    def __init__(self, problem: Problem) -> None:
        self.X, self.y = problem.tensors
        self.rows = [record.rows for record in problem.records]
        self.weights = nn.Parameter(torch.ones(len(self.y)), requires_grad=False)
        self.device = torch.device("cpu")

    @property
    def requires_grad(self) -> bool:
        return self.weights.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.weights.requires_grad = value

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        rows = self.rows[step]
        return {
            "input_ids": self.X[rows],
            "targets": self.y[rows],
            "example_weight": self.weights[rows],
        }


class WithLoss(nn.Module):
    """A module that returns its weighted loss, as bergson's trainer wants it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(
        self, input_ids: Tensor, targets: Tensor, example_weight: Tensor
    ) -> Tensor:
        losses = cross_entropy(self.module(input_ids), targets, reduction="none")
        return (losses * example_weight).mean()


def fit(problem: Problem) -> Any:
    """Train; checkpoints lie on disk, every square root of the steps (its default)."""
    folder = tempfile.TemporaryDirectory()
    trainer, state = Trainer.initialize(
        WithLoss(problem.module()), torchopt.sgd(problem.clf.lr, problem.momentum)
    )
    stream = Stream(problem)
    state = trainer.train(state, stream, inplace=True, save_dir=folder.name)
    return folder, trainer, stream, state


def score(problem: Problem, fitted: Any) -> np.ndarray:
    """Differentiate the mean query through the run, in the samples' weights."""
    found = _derivative(fitted, *problem.tensors_val)
    fitted[0].cleanup()
    return found


def each(problem: Problem, fitted: Any) -> np.ndarray:
    """Differentiate each query: it takes one way back for each."""
    X_val, y_val = problem.tensors_val
    queries = zip(X_val[:, None], y_val[:, None], strict=True)
    found = np.stack([_derivative(fitted, *query) for query in queries])
    fitted[0].cleanup()
    return found


def _derivative(fitted: Any, X_val: Tensor, y_val: Tensor) -> np.ndarray:
    folder, trainer, stream, state = fitted
    state.detach_()
    state.requires_grad = True
    with state.activate(trainer.model) as params:
        loss = trainer.model(X_val, y_val, torch.ones(len(y_val)))
        gradients = torch.autograd.grad(loss, list(params.values()))
    adjoint = BackwardState(
        dict(zip(params, gradients, strict=True)),
        [
            torch.zeros_like(buffer)
            for buffer in tree_iter(state.opt_state)
            if isinstance(buffer, Tensor) and buffer.is_floating_point()
        ],
        torch.zeros(len(stream.y)),
    )
    # The checkpoints stay for the next query, and so does the final state.
    found = trainer.backward(
        folder.name,
        stream,
        adjoint,
        copy.deepcopy(state),
        inplace=True,
        cleanup=False,
    )
    return -found.weight_grads.detach().numpy()


def methods(problem: Problem) -> list[Method]:
    """Return MAGIC."""
    return [Method("bergson MAGIC", fit, score, each)]
