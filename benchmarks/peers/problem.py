"""The problem: digits with flipped labels, one training run, and its exact truth."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import flip_labels
from skinfluence.metrics import linear_datamodeling_score

SETTINGS: dict[str, dict[str, Any]] = {
    "easy": {"module__hidden_layer_sizes": (32,), "max_epochs": 20, "lr": 0.1},
    "hard": {"module__hidden_layer_sizes": (128,), "max_epochs": 100, "lr": 0.2},
}


class Missing(Exception):
    """A method cannot run here; the message says why."""


@dataclass(frozen=True)
class Method:
    """One row of the table: what trains, and what then scores the samples.

    `score` returns shape (n_train,), for the mean loss of the validation samples, and
    `each` shape (n_val, n_train), for the loss of each; None if a method cannot. Scores
    have the sign of the influence: negative for harmful samples.
    """

    name: str
    fit: Callable[["Problem"], Any]
    score: Callable[["Problem", Any], Any]
    each: Callable[["Problem", Any], Any] | None = None


@dataclass(frozen=True)
class PlainRun:
    """What a method that only needs a trained network gets."""

    module: nn.Module
    epoch_ends: list[dict[str, Tensor]]


@dataclass
class Problem:
    """Data, and a fitted classifier whose initial weights and batches all share."""

    setting: str
    clf: SGDInfluenceClassifier
    X: np.ndarray
    y: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    flipped: np.ndarray

    @cached_property
    def tensors(self) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.X), torch.from_numpy(self.y)

    @cached_property
    def tensors_val(self) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.X_val), torch.from_numpy(self.y_val)

    @property
    def records(self) -> list[Any]:
        return self.clf.trajectory_.records

    @property
    def momentum(self) -> float:
        return self.clf.get_params().get("optimizer__momentum", 0.0)

    def module(self) -> nn.Module:
        """Return the network with the initial weights, in training mode."""
        module = copy.deepcopy(self.clf.module_).train()
        start = self.clf.trajectory_.state(0).parameters.clone()
        nn.utils.vector_to_parameters(start, module.parameters())
        return module

    def train(
        self,
        module: nn.Module | None = None,
        before_step: Callable[[Any], None] | None = None,
    ) -> PlainRun:
        """Train in a plain PyTorch loop on the shared batches."""
        module = self.module() if module is None else module
        optimizer = torch.optim.SGD(module.parameters(), self.clf.lr, self.momentum)
        criterion = nn.CrossEntropyLoss()
        X, y = self.tensors
        ends = set(self.clf.trajectory_.epoch_ends().values())
        epoch_ends = []
        for record in self.records:
            if before_step is not None:
                before_step(record)
            optimizer.zero_grad()
            criterion(module(X[record.rows]), y[record.rows]).backward()
            optimizer.step()
            if record.step + 1 in ends:
                epoch_ends.append(copy.deepcopy(module.state_dict()))
        return PlainRun(module.eval(), epoch_ends)


def load(
    setting: str, seed: int = 0, n_train: int = 1000, n_val: int = 400, **changed: Any
) -> Problem:
    """Return the problem in one of its settings, fitted."""
    X, y = load_digits(return_X_y=True)
    X, X_val, y, y_val = train_test_split(
        (X / 16).astype(np.float32),
        y,
        train_size=n_train,
        test_size=n_val,
        random_state=seed,
    )
    y, flipped = flip_labels(y, 0.2, random_state=seed)
    options = {"batch_size": 50, "random_state": seed, **SETTINGS[setting], **changed}
    clf = SGDInfluenceClassifier("mlp", **options).fit(X, y)
    return Problem(setting, clf, X, y, X_val, y_val, flipped)


class Fidelity:
    """Compares scores with retraining; the retrained models are computed once.

    Parameters
    ----------
    problem : Problem
        The problem.
    folder : path
        Where the exact changes of the subsets are cached.
    n_samples, n_subsets : int
        Exact leave-one-out runs, and subsets that keep 90 %.
    seed : int
        Draws both.
    """

    def __init__(
        self,
        problem: Problem,
        folder: Any,
        n_samples: int = 150,
        n_subsets: int = 60,
        seed: int = 0,
    ) -> None:
        self.problem = problem
        self.subsets = {
            "n_subsets": n_subsets,
            "random_state": seed,
            "memory": str(folder),
        }
        rng = np.random.default_rng(seed)
        self.samples = rng.permutation(len(problem.y))[:n_samples]
        self.changes = problem.clf.counterfactual_influence(
            problem.X_val, problem.y_val, self.samples
        )

    def __call__(self, scores: np.ndarray) -> dict[str, float]:
        """Return how well scores agree with the truth."""
        problem = self.problem
        return {
            "Spearman": float(spearmanr(scores[self.samples], self.changes).statistic),
            "LDS": linear_datamodeling_score(
                problem.clf, scores, problem.X_val, problem.y_val, **self.subsets
            ),
            "precision": float(average_precision_score(problem.flipped, -scores)),
        }
