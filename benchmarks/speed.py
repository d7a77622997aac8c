"""Fit and retrace against plain PyTorch and against skorch, on the same batches."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier
from torch import nn

from benchmarks.timing import interleaved, ratio
from skinfluence import SGDInfluenceClassifier


def digits_mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def mnist_cnn() -> nn.Module:
    """Return the small CNN: 20-20-fc10, 13,750 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 20, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(320, 10),
    )


def cifar_cnn() -> nn.Module:
    """Return the CIFAR-10 network of Hara et al.: 307,946 parameters, BatchNorm."""
    layers: list[nn.Module] = []
    channels = 3
    for number, width in enumerate((32, 32, 64, 64, 128, 128)):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        layers += [nn.MaxPool2d(2)] if number % 2 else []
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 10))


def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


def images(
    shape: tuple[int, ...] = (1, 28, 28), count: int = 1600
) -> tuple[np.ndarray, np.ndarray]:
    """Return noise of the shape of images: the time does not depend on the values."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(count, *shape)).astype(np.float32)
    return X, rng.integers(10, size=len(X))


def color_images() -> tuple[np.ndarray, np.ndarray]:
    return images((3, 32, 32), 450)


Problem = tuple[str, Callable[[], nn.Module], Callable[[], Any], int, dict[str, Any]]


def many_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the digits several times over: more than 10,000 samples."""
    X, y = digits()
    return np.tile(X, (6, 1)), np.tile(y, 6)


PROBLEMS: list[Problem] = [
    (
        "digits MLP, 10,000 samples",
        digits_mlp,
        many_digits,
        10_000,
        {"max_epochs": 3, "batch_size": 50, "lr": 0.1},
    ),
    (
        "digits MLP 64-32-10, batch 50",
        digits_mlp,
        digits,
        1000,
        {"max_epochs": 20, "batch_size": 50, "lr": 0.1},
    ),
    (
        "CNN 20-20-fc10 on 28x28, batch 64",
        mnist_cnn,
        images,
        1280,
        {"max_epochs": 10, "batch_size": 64, "lr": 0.05},
    ),
    (
        "CIFAR CNN, 6 convolutions, batch 64",
        cifar_cnn,
        color_images,
        320,
        {"max_epochs": 4, "batch_size": 64, "lr": 0.05},
    ),
]


# The most that it should cost.
AIMS: dict[Any, dict[str, float]] = {
    digits_mlp: {"eager": 2.0, "compiled": 0.35, "fit": 1.25},
    mnist_cnn: {"eager": 2.4, "compiled": 1.1, "fit": 1.1},
    cifar_cnn: {"eager": 3.2, "fit": 1.1},
}


def plain_training(
    module: nn.Module, X: torch.Tensor, y: torch.Tensor, batches: list[Any], lr: float
) -> None:
    """Train in a plain PyTorch loop on given batches."""
    optimizer = torch.optim.SGD(module.parameters(), lr=lr)
    criterion = nn.CrossEntropyLoss()
    for rows in batches:
        optimizer.zero_grad()
        criterion(module(X[rows]), y[rows]).backward()
        optimizer.step()


def compare(problem: Problem, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield the ratios of one problem."""
    name, make, load, n_train, options = problem
    aims = AIMS.get(make, {})
    X, y = load()
    # Few enough that the query costs little beside the training.
    n_val = min(400, n_train // 3)
    X_val, y_val = X[n_train : n_train + n_val], y[n_train : n_train + n_val]
    X, y = X[:n_train], y[:n_train]
    tensors = torch.from_numpy(X), torch.from_numpy(y)
    clf = SGDInfluenceClassifier(make, random_state=0, **options).fit(X, y)
    batches = [record.rows for record in clf.trajectory_.records]
    compiled = SGDInfluenceClassifier(make, random_state=0, compile=True, **options)
    compiled.fit(X, y)
    ours = SGDInfluenceClassifier(make, random_state=0, **options)
    silent = SGDInfluenceClassifier(make, random_state=0, record=None, **options)
    ours_compiled = SGDInfluenceClassifier(
        make, random_state=0, compile=True, **options
    )
    theirs = NeuralNetClassifier(
        make,
        criterion=nn.CrossEntropyLoss,
        train_split=None,
        verbose=0,
        iterator_train__shuffle=True,
        **options,
    )
    seconds = interleaved(
        {
            "plain PyTorch": lambda: plain_training(
                make(), *tensors, batches, options["lr"]
            ),
            "retrace": lambda: clf.influence(X_val, y_val),
            "label influence": lambda: clf.label_influence(X_val, y_val),
            "compiled retrace": lambda: compiled.influence(X_val, y_val),
            "fit, recording": lambda: ours.fit(X, y),
            "fit, not recording": lambda: silent.fit(X, y),
            "compiled fit, recording": lambda: ours_compiled.fit(X, y),
            "skorch's fit": lambda: theirs.fit(X, y),
        },
        repeats,
        time.process_time,
    )
    for over, under, bound in (
        ("retrace", "plain PyTorch", aims.get("eager")),
        ("compiled retrace", "plain PyTorch", aims.get("compiled")),
        ("label influence", "retrace", 1.5),
        ("fit, recording", "skorch's fit", 1.2 if n_train < 10_000 else 1.0),
        ("fit, recording", "plain PyTorch", aims.get("fit")),
        ("fit, not recording", "plain PyTorch", None),
        ("compiled fit, recording", "plain PyTorch", None),
    ):
        row = ratio(seconds, over, under)
        yield {"problem": name, **row, "at most": bound or "-"}


def on_device(device: str) -> Callable[[int], list[dict[str, Any]]]:
    """Return a benchmark of absolute times on a device, and on the CPU beside it."""

    def seconds_of(problem: Problem, where: str, compiled: bool, repeats: int) -> Any:
        _, make, load, n_train, options = problem
        X, y = load()
        n_val = min(400, n_train // 3)
        asked = X[n_train : n_train + n_val], y[n_train : n_train + n_val]
        clf = SGDInfluenceClassifier(
            make, random_state=0, device=where, compile=compiled, **options
        )

        def fit() -> None:
            clf.fit(X[:n_train], y[:n_train])

        seconds = interleaved({"fit": fit}, repeats)
        seconds |= interleaved({"influence": lambda: clf.influence(*asked)}, repeats)
        return {name: min(times) for name, times in seconds.items()}

    def run_there(repeats: int) -> list[dict[str, Any]]:
        rows = []
        for problem in PROBLEMS:
            for where in ("cpu", device):
                for compiled in (False, True):
                    times = seconds_of(problem, where, compiled, max(repeats // 3, 1))
                    rows.append(
                        {
                            "problem": problem[0],
                            "device": where,
                            "compile": str(compiled),
                            "fit, s": times["fit"],
                            "influence, s": times["influence"],
                        }
                    )
        return rows

    return run_there


def run(repeats: int) -> list[dict[str, Any]]:
    """Return the ratios of all problems."""
    return [row for problem in PROBLEMS for row in compare(problem, repeats)]
