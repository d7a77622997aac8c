"""dattri: data value embeddings, collected while training."""

from typing import Any

import numpy as np
from dattri.algorithm.dvemb import DVEmbAttributor
from dattri.task import AttributionTask
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from .problem import Method, Problem

# The paper's factorized projection; its weighting matrix has as many rows and columns.
_PROJECTED = 2048


def loss(module: nn.Module, data: Any, device: Any) -> Tensor:
    """Return the mean loss of a batch."""
    X, y = data
    return cross_entropy(module(X), y)


def _method(name: str, **options: Any) -> Method:
    def fit(problem: Problem) -> DVEmbAttributor:
        """Train, and keep each step's gradients of the single samples."""
        module = problem.module()
        task = AttributionTask(loss, module, module.state_dict())
        attributor = DVEmbAttributor(task, **options)
        X, y = problem.tensors

        def keep(record: Any) -> None:
            rows = record.rows
            batch = (X[rows], y[rows])
            # Epochs count from 0 there.
            attributor.cache_gradients(record.epoch - 1, batch, rows, problem.clf.lr)

        problem.train(module, keep)
        return attributor

    return Method(name, fit, score, each)


def score(problem: Problem, attributor: DVEmbAttributor) -> np.ndarray:
    """Return the mean over the queries."""
    return each(problem, attributor).mean(0)


def each(problem: Problem, attributor: DVEmbAttributor) -> np.ndarray:
    """Embed the samples, backwards through the run, and compare with the query."""
    attributor.cache()
    loader = DataLoader(TensorDataset(*problem.tensors_val), len(problem.y_val))
    return attributor.attribute(loader).T.detach().numpy()


def methods(problem: Problem) -> list[Method]:
    """Return DVEmb: projected, and whole where the network is small enough."""
    projected = _method(
        "dattri DVEmb, projected", factorization_type="kronecker", proj_dim=_PROJECTED
    )
    if problem.setting != "easy":
        return [projected]
    whole = _method("dattri DVEmb", factorization_type="kronecker")
    return [whole, projected]
