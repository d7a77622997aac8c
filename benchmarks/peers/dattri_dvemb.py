"""dattri: data value embeddings, collected while training."""

from typing import Any

import numpy as np
import torch
from dattri.algorithm.dvemb import DVEmbAttributor
from dattri.task import AttributionTask
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from .problem import Method, Problem

# Its weighting matrix has as many rows and columns as the network has parameters; from
# the larger network on, gradients are projected.
_MOST_PARAMETERS = 4000
_PROJECTED = 2048


def fit(problem: Problem) -> DVEmbAttributor:
    """Train, and keep each step's gradients of the single samples."""
    module = problem.module()
    size = sum(parameter.numel() for parameter in module.parameters())

    def loss(params: Any, data: Any) -> torch.Tensor:
        X, y = data
        return cross_entropy(torch.func.functional_call(module, params, (X,)), y)

    task = AttributionTask(loss, module, module.state_dict())
    projected = None if size <= _MOST_PARAMETERS else _PROJECTED
    attributor = DVEmbAttributor(task, proj_dim=projected)
    X, y = problem.tensors

    def keep(record: Any) -> None:
        rows = record.rows
        batch = (X[rows], y[rows])
        # Epochs count from 0 there.
        attributor.cache_gradients(record.epoch - 1, batch, rows, problem.clf.lr)

    problem.train(module, keep)
    return attributor


def score(problem: Problem, attributor: DVEmbAttributor) -> np.ndarray:
    """Embed the samples, backwards through the run, and compare with the query."""
    attributor.cache()
    loader = DataLoader(TensorDataset(*problem.tensors_val), len(problem.y_val))
    return attributor.attribute(loader).mean(1).detach().numpy()


def methods(problem: Problem) -> list[Method]:
    """Return DVEmb."""
    return [Method("dattri DVEmb", fit, score)]
