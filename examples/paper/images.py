"""Images and networks of the experiments of Hara, Nitanda and Maehara (2019)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import fetch_cifar10, fetch_mnist, flip_labels

DATA = {"mnist": fetch_mnist, "cifar10": fetch_cifar10}
SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
CLASSES = {
    "mnist": [str(digit) for digit in range(10)],
    "cifar10": [
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ],
}


@dataclass(frozen=True)
class Problem:
    """What is trained on: how many images of which data, and for how long.

    Attributes
    ----------
    data : str
        "mnist" or "cifar10".
    n_train, n_val, n_test : int
        Numbers of images. Those to train on and to validate on are drawn anew for each
        split from the original training set; those to test on are the first of the
        original test set.
    flip : float
        The share of the training labels that are replaced by others. The labels to
        validate on and to test on stay right.
    epochs : int
        Epochs of training.
    """

    data: str
    n_train: int
    n_val: int
    n_test: int
    flip: float = 0.0
    epochs: int = 20

    @property
    def title(self) -> str:
        """What it is, in words."""
        return f"{TITLES[self.data]}, {self.n_train:,} training images"

    @property
    def name(self) -> str:
        """A name that tells it from all other problems."""
        return "-".join(str(value) for value in asdict(self).values())


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes
    ----------
    X, y : ndarray of shape (n_train, channels, height, width) and (n_train,)
        What is trained on.
    rows, flipped : ndarray of shape (n_train,)
        Their rows in the original training set; whose labels are wrong on purpose.
    X_val, y_val, X_test, y_test : ndarray
        What is validated and tested on.
    """

    X: np.ndarray
    y: np.ndarray
    rows: np.ndarray
    flipped: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


@cache
def images(data: str, subset: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images, (n, channels, height, width) and uint8, and their labels."""
    X, y = DATA[data](subset=subset, return_X_y=True)
    return np.asarray(X, dtype=np.uint8).reshape(-1, *SHAPES[data]), np.asarray(y)


def split(problem: Problem, seed: int) -> Split:
    """Draw the images to train and to validate on, and flip labels of the former."""
    X, y = images(problem.data, "train")
    X_test, y_test = images(problem.data, "test")
    n_train, n_val, n_test = problem.n_train, problem.n_val, problem.n_test
    if n_train + n_val > len(X) or n_test > len(X_test):
        raise ValueError(
            f"There are {len(X):,} images to train and validate on and {len(X_test):,} "
            f"to test on, got {n_train:,} + {n_val:,} and {n_test:,}."
        )
    rows = np.random.default_rng(seed).permutation(len(X))
    val, train = rows[:n_val], np.sort(rows[n_val : n_val + n_train])
    labels, flipped = flip_labels(y[train], problem.flip, random_state=seed)
    return Split(
        X=_scaled(X[train]),
        y=labels,
        rows=train,
        flipped=flipped,
        X_val=_scaled(X[val]),
        y_val=y[val],
        X_test=_scaled(X_test[:n_test]),
        y_test=y_test[:n_test],
    )


def _scaled(X: np.ndarray) -> np.ndarray:
    """Return the images between -1 and 1."""
    return X.astype(np.float32) / np.float32(127.5) - 1


class ChannelsLast(nn.Module):
    """Lays images out as convolutions on a CPU are fastest; the numbers stay."""

    def forward(self, X: Tensor) -> Tensor:
        """Return the same images."""
        return X.contiguous(memory_format=torch.channels_last)


class MnistNet(nn.Sequential):
    """Two convolutions, each with a pooling behind it, and a linear layer."""

    def __init__(self, n_classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(1, 20, 5),
            ChannelsLast(),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 20, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(320, n_classes),
        )


class CifarNet(nn.Sequential):
    """Six convolutions in three blocks, the first of each with BatchNorm."""

    def __init__(self, n_classes: int = 10) -> None:
        channels = (3, 32, 64, 128)
        blocks = [
            layer
            for before, after in pairwise(channels)
            for layer in (
                nn.Conv2d(before, after, 3, padding=1),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.Conv2d(after, after, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )
        ]
        super().__init__(
            ChannelsLast(), *blocks, nn.Flatten(), nn.Linear(2048, n_classes)
        )


NETWORKS = {"mnist": MnistNet, "cifar10": CifarNet}


def classifier(
    problem: Problem, y: Any, seed: int, device: str
) -> SGDInfluenceClassifier:
    """Return the paper's network, to be fitted: plain SGD, batches of 64."""
    return SGDInfluenceClassifier(
        NETWORKS[problem.data],
        module__n_classes=len(np.unique(y)),
        lr=0.05,
        batch_size=64,
        max_epochs=problem.epochs,
        random_state=seed,
        device=device,
    )
