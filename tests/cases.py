"""A table of training runs: optimizers, modules, and options around them.

A case is lazy: it holds what builds a classifier in double precision and nothing else,
so that a new test over all of them is a few lines.
"""

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from skinfluence import SGDInfluenceClassifier

# For tests whose runs are as rough as the warning says, and which ask for something
# else than how much the influence foretells.
rough = pytest.mark.filterwarnings(
    "ignore::skinfluence.exceptions.InfluenceReliabilityWarning"
)

# For tests of what is computed on a device, against the same on a CPU.
_CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    ],
)
on_cuda = pytest.mark.parametrize("device", [_CUDA])
on_devices = pytest.mark.parametrize(
    "device", [_CUDA, pytest.param("stand", marks=pytest.mark.stand)]
)

# Smooth activations: a kink within a finite difference's reach would spoil the oracle.
N_SAMPLES, N_CLASSES, SIDE = 14, 3, 6


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, N_CLASSES))


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(SIDE * SIDE, 5), nn.Tanh(), nn.Linear(5, N_CLASSES)
    )


def dropout() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(SIDE * SIDE, 8),
        nn.Tanh(),
        nn.Dropout(0.4),
        nn.Linear(8, N_CLASSES),
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.Softplus(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, N_CLASSES),
    )


def batch_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False),
        nn.BatchNorm2d(3),
        nn.Softplus(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, N_CLASSES),
    )


class Shared(nn.Module):
    """A layer under two names, and a weight in two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(SIDE * SIDE, 5, bias=False)
        self.layer = self.again = nn.Linear(5, 5)
        self.norm = self.norm_again = nn.BatchNorm1d(5)
        self.tied = nn.Linear(5, 5)
        self.tied.weight = self.layer.weight
        self.last = nn.Linear(5, N_CLASSES)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(self.first(X.flatten(1))).tanh()
        hidden = self.norm_again(self.again(self.layer(hidden).tanh())).tanh()
        outputs: torch.Tensor = self.last(self.tied(hidden).tanh())
        return outputs


def shared() -> nn.Module:
    return Shared()


class LogSumExp(nn.Module):
    """Subtracts a maximum without its gradient, which changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(SIDE * SIDE, 5)
        self.last = nn.Linear(5, N_CLASSES)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        hidden = self.first(X.flatten(1))
        largest = hidden.detach().amax(1, keepdim=True)
        total = torch.exp(hidden - largest).sum(1, keepdim=True)
        outputs: torch.Tensor = self.last(hidden - (largest + torch.log(total)))
        return outputs


def log_sum_exp() -> nn.Module:
    return LogSumExp()


_MODULES = linear, mlp, cnn, batch_norm, dropout, shared, log_sum_exp
MODULES = {f.__name__: f for f in _MODULES}

# Adam-like steps divide by the root of a second moment: an eps that is not far below
# the gradients keeps their third derivative, and with it the oracle's error, small.
_EPS = {"lr": 0.02, "optimizer__eps": 1e-2}

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer__weight_decay": 0.01},
    "momentum": {"optimizer__momentum": 0.8, "optimizer__dampening": 0.1},
    "nesterov": {"optimizer__momentum": 0.8, "optimizer__nesterov": True},
    "adam": {"optimizer": torch.optim.Adam, "optimizer__weight_decay": 0.01, **_EPS},
    "amsgrad": {"optimizer": torch.optim.Adam, "optimizer__amsgrad": True, **_EPS},
    "adamw": {"optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.1, **_EPS},
    "rmsprop": {"optimizer": torch.optim.RMSprop, **_EPS},
    "rmsprop_centered": {
        "optimizer": torch.optim.RMSprop,
        "optimizer__centered": True,
        "optimizer__momentum": 0.5,
        **_EPS,
    },
    "adagrad": {"optimizer": torch.optim.Adagrad, **_EPS},
    "adadelta": {"optimizer": torch.optim.Adadelta, "lr": 1.0, "optimizer__eps": 1e-2},
    "nadam": {"optimizer": torch.optim.NAdam, **_EPS},
    "radam": {"optimizer": torch.optim.RAdam, **_EPS},
    "adamax": {"optimizer": torch.optim.Adamax, **_EPS},
    "asgd": {"optimizer": torch.optim.ASGD, "optimizer__lambd": 1e-2, "lr": 0.1},
    "asgd_averaging": {
        "optimizer": torch.optim.ASGD,
        "optimizer__lambd": 1e-2,
        "optimizer__t0": 3,
        "lr": 0.1,
    },
}

# Each optimizer with a module, each module at least twice: for what was tested over all
# pairs where it is computed, and is handed on here.
PAIRS = list(zip(OPTIMIZERS, 3 * list(MODULES), strict=False))


def pairwise(**values: Collection[Any]) -> pytest.MarkDecorator:
    """Parametrize with few rows in which any two values of two arguments meet.

    Rows whose values were all in earlier ones are slow.
    """
    choices = [list(each) for each in values.values()]
    rows = list(itertools.product(*(range(len(each)) for each in choices)))
    pairs = {row: set(itertools.combinations(enumerate(row), 2)) for row in rows}
    left, seen, params = set().union(*pairs.values()), set(), []
    while left:
        row = max(rows, key=lambda row: len(pairs[row] & left))
        left -= pairs[row]
        marks = () if set(enumerate(row)) - seen else pytest.mark.slow
        seen |= set(enumerate(row))
        chosen = [each[k] for each, k in zip(choices, row, strict=True)]
        params.append(pytest.param(*chosen, marks=marks))
    return pytest.mark.parametrize(list(values), params)


@dataclass(frozen=True)
class Case:
    """A training run to be made."""

    module: str = "mlp"
    optimizer: str = "sgd"
    options: dict[str, Any] = field(default_factory=dict)
    weighted: bool = False

    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return X, y and weights: every sample unlike the others."""
        rng = np.random.default_rng(0)
        X = rng.normal(size=(N_SAMPLES, 1, SIDE, SIDE))
        y = np.arange(N_SAMPLES) % N_CLASSES
        X += 0.5 * y[:, None, None, None]
        return X, y, rng.uniform(0.2, 2.0, N_SAMPLES) if self.weighted else None

    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(1)
        y = np.arange(7) % N_CLASSES
        return rng.normal(size=(7, 1, SIDE, SIDE)) + 0.5 * y[:, None, None, None], y

    def classifier(self, **more: Any) -> SGDInfluenceClassifier:
        options = {
            "lr": 0.1,
            "max_epochs": 3,
            "batch_size": 5,
            "dtype": "float64",
            "random_state": 0,
            **OPTIMIZERS[self.optimizer],
            **self.options,
            **more,
        }
        return SGDInfluenceClassifier(MODULES[self.module], **options)

    def fitted(self, **more: Any) -> SGDInfluenceClassifier:
        X, y, weights = self.data()
        return self.classifier(**more).fit(X, y, sample_weight=weights)
