"""pyDVL: influence functions on the final network."""

from collections.abc import Callable
from typing import Any

import numpy as np
from pydvl.influence.torch import (
    CgInfluence,
    EkfacInfluence,
    NystroemSketchInfluence,
)
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from .problem import Method, Problem


def loss(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean loss of one sample, or of a set of samples taken as one."""
    return cross_entropy(output.flatten(0, -2), target.flatten())


def _loader(problem: Problem) -> DataLoader:
    return DataLoader(TensorDataset(*problem.tensors), batch_size=len(problem.y))


def _method(name: str, make: Callable[[Any], Any], as_one: bool) -> Method:
    def score(problem: Problem, run: Any) -> np.ndarray:
        model = make(run.module).fit(_loader(problem))
        X_val, y_val = problem.tensors_val
        if as_one:  # the query's mean gradient: one system to solve instead of many
            X_val, y_val = X_val[None], y_val[None]
        return model.influences(X_val, y_val, *problem.tensors).mean(0).numpy()

    def each(problem: Problem, run: Any) -> np.ndarray:
        model = make(run.module).fit(_loader(problem))
        found = model.influences(*problem.tensors_val, *problem.tensors)
        return found.detach().numpy()

    return Method(f"pyDVL {name}", lambda problem: problem.train(), score, each)


# Regularization: of 0.1, 0.01 and 0.001 the one with the best LDS in the easy setting.
def methods(problem: Problem) -> list[Method]:
    """Return three ways to invert the Hessian."""
    return [
        # On the hard setting's indefinite Hessian it would never come to an end.
        _method("CG", lambda module: CgInfluence(module, loss, 0.1, maxiter=300), True),
        _method(
            "Nyström",
            lambda module: NystroemSketchInfluence(module, loss, 0.1, rank=100),
            True,
        ),
        _method(
            "EK-FAC",
            lambda module: EkfacInfluence(
                module, update_diagonal=True, hessian_regularization=0.01
            ),
            False,
        ),
    ]
