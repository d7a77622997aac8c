"""The models that the command line trains."""

import math
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse
from torch import Tensor, nn

from ..estimators import (
    MLPModule,
    SGDInfluenceClassifier,
    SGDInfluenceRegressor,
    extreme_targets,
)
from ._choices import CLASSIFICATION, HIDDEN
from ._problem import Problem
from ._whitening import USUAL_NORM

BATCH_SIZE = 64


class ScaledMLP(MLPModule):
    """A network with outputs around 0, scaled to the unit of the target."""

    def __init__(self, *sizes: Any, center: float, scale: float, **options: Any):
        super().__init__(*sizes, **options)
        self.center, self.scale = center, scale

    def forward(self, X: Tensor) -> Tensor:
        """Return predictions of shape (n,)."""
        return self.center + self.scale * super().forward(X)


class ScaledMSELoss(nn.MSELoss):
    """The squared error as a share of the target's variance, targets being limited.

    Between `low` and `high` targets are as they are, and beyond they go no further
    than half of that range: a gross error does harm, but does not ruin the model.
    """

    unit = "share of the target's variance"

    def __init__(self, low: float, high: float, scale: float, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.low, self.high, self.scale = low, high, scale

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        near = target.clamp(self.low, self.high)
        beyond, room = target - near, (self.high - self.low) / 2
        # Smoothly, so that the report can tell in which direction to change them.
        share = 1 - 1 / (1 + beyond.abs() / room)
        limited = near + room * beyond.sign() * share
        return super().forward(input / self.scale, limited / self.scale)


def make_model(problem: Problem, options: Namespace, callbacks: Sequence[Any]) -> Any:
    """Return an unfitted estimator."""
    target, n_rows = problem.target, len(problem.target.y)
    parameters: dict[str, Any] = {
        "module__hidden_layer_sizes": HIDDEN[options.module],
        "max_epochs": options.epochs or default_epochs(n_rows),
        "random_state": options.seed,
        "batch_size": BATCH_SIZE,
        "lr": learning_rate(problem),
        "callbacks": list(callbacks),
        "n_threads": None,  # as the command line has set torch
    }
    if target.task == CLASSIFICATION:
        return SGDInfluenceClassifier("mlp", **parameters)
    # Not by transforming the target: predictions and the report keep its unit.
    usual = target.y[~extreme_targets(target.y)]
    scale = float(np.std(usual))
    return SGDInfluenceRegressor(
        ScaledMLP,
        module__n_features=problem.X.shape[1],
        module__center=float(np.mean(usual)),
        module__scale=scale,
        criterion=ScaledMSELoss,
        criterion__low=float(np.min(usual)),
        criterion__high=float(np.max(usual)),
        criterion__scale=scale,
        **parameters,
    )


def learning_rate(problem: Problem) -> float:
    """Return the estimators' default, or less for inputs of large norm.

    The curvature of the loss grows with the squared norm of the inputs.
    """
    default = 0.1 if problem.target.task == CLASSIFICATION else 0.05
    X = problem.X
    squares = X.multiply(X) if sparse.issparse(X) else X**2
    norm = float(squares.sum()) / X.shape[0]
    return default * min(1.0, USUAL_NORM / norm) if norm else default


def default_epochs(n_rows: int) -> int:
    """Return the estimators' 20 epochs, or more if these would be few steps."""
    steps = math.ceil(n_rows / BATCH_SIZE)
    return min(100, max(20, math.ceil(500 / steps)))
