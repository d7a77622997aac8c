"""Leave-one-out runs, stacked, against plain PyTorch and one by one."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler
from torch import nn

from benchmarks.speed import images, mnist_cnn
from benchmarks.timing import interleaved, ratio
from skinfluence import SGDInfluenceClassifier
from skinfluence.counterfactual import Ensemble
from skinfluence.datasets import fetch_adult, fetch_mnist
from skinfluence.estimators import RecordedRun
from skinfluence.estimators._questions.question import ask, query_of

N_TRAIN = 200


def adult() -> tuple[np.ndarray, np.ndarray]:
    """Return one-hot Adult, from the folder that SKINFLUENCE_DATA names or OpenML."""
    import pandas as pd

    X, y = fetch_adult(return_X_y=True)
    X, y = pd.get_dummies(X.iloc[: 2 * N_TRAIN]), y.iloc[: 2 * N_TRAIN]
    return X.to_numpy(dtype=np.float32), (y == ">50K").to_numpy(dtype=np.int64)


def mnist() -> tuple[np.ndarray, np.ndarray]:
    X, y = fetch_mnist(return_X_y=True)
    rows = np.flatnonzero((y == 1) | (y == 7))[: 2 * N_TRAIN]
    return (X[rows] / 255).astype(np.float32), (y[rows] == 7).astype(np.int64)


def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    rows = np.flatnonzero((y == 1) | (y == 7))[: 2 * N_TRAIN]
    return X[rows].astype(np.float32), (y[rows] == 7).astype(np.int64)


PROBLEMS: list[tuple[str, Callable[[], Any], float]] = [
    ("digits 1 against 7 (64 features)", digits, 15.0),
    ("Adult, one-hot", adult, 15.0),
    ("MNIST 1 against 7 (784 features)", mnist, 5.0),
]


def small_network(n_features: int) -> nn.Module:
    """Return the d-8-8-1 network of Hara, Nitanda and Maehara (2019)."""
    return nn.Sequential(
        nn.Linear(n_features, 8),
        nn.ReLU(),
        nn.Linear(8, 8),
        nn.ReLU(),
        nn.Linear(8, 1),
    )


def one_by_one(module: nn.Module, clf: Any, X: np.ndarray, y: np.ndarray) -> None:
    """Train without each sample in turn, in plain PyTorch loops."""
    start = {k: v.clone() for k, v in module.state_dict().items()}
    inputs, targets = torch.from_numpy(X), torch.from_numpy(y).float()[:, None]
    batches = [record.rows for record in clf.trajectory_.records]
    for sample in range(len(X)):
        module.load_state_dict(start)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, weight_decay=0.001)
        present = torch.ones(len(X), 1)
        present[sample] = 0
        for rows in batches:
            losses = nn.functional.binary_cross_entropy_with_logits(
                module(inputs[rows]), targets[rows], weight=present[rows]
            )
            optimizer.zero_grad()
            losses.backward()
            optimizer.step()


def leave_one_out(
    name: str, load: Callable[[], Any], bound: float, repeats: int
) -> Iterator[dict[str, Any]]:
    """Yield how much faster 200 runs are stacked than one after the other."""
    try:
        X, y = load()
    except OSError as error:
        print(f"{name}: skipped, the data is not available ({error})")
        return
    X = StandardScaler().fit_transform(X).astype(np.float32)
    X, X_val, y, y_val = X[:N_TRAIN], X[N_TRAIN:], y[:N_TRAIN], y[N_TRAIN:]
    n_features = X.shape[1]
    clf = SGDInfluenceClassifier(
        small_network,
        module__n_features=n_features,
        criterion=nn.BCEWithLogitsLoss,
        batch_size=20,
        max_epochs=10,
        optimizer__weight_decay=0.001,
        random_state=0,
    ).fit(X, y)
    seconds = interleaved(
        {
            "plain PyTorch": lambda: one_by_one(small_network(n_features), clf, X, y),
            "ensemble": lambda: clf.counterfactual_influence(X_val, y_val),
        },
        repeats,
    )
    row = ratio(seconds, "plain PyTorch", "ensemble")
    yield {"problem": f"200 runs, {name}", **row, "bound": f">= {bound:g}"}


def against_the_loop(repeats: int) -> Iterator[dict[str, Any]]:
    """Yield the time of the way that a short trial chooses over the plain loop's."""
    X, y = images()
    clf = SGDInfluenceClassifier(
        mnist_cnn, max_epochs=2, batch_size=64, lr=0.05, random_state=0
    ).fit(X[:640], y[:640])
    asked = ask(clf, X[640:840], y[640:840], None, "loss", "final", None)
    weights = (1 - torch.eye(640))[:16]

    def run(way: Any) -> None:
        step, worker = RecordedRun.of(clf).repeatable()
        query = query_of(worker, asked).here
        Ensemble(asked.trajectory, step, query, asked.at, way=way).changes(weights)

    seconds = interleaved(
        {way: lambda way=way: run(way) for way in ("auto", "loop", "stacked")},
        max(3, repeats // 3),
    )
    for way, bound in (("auto", "<= 1.1"), ("stacked", "-")):
        row = ratio(seconds, way, "loop")
        yield {"problem": "16 runs, CNN 20-20-fc10, 20 steps", **row, "bound": bound}


def run(repeats: int) -> list[dict[str, Any]]:
    """Return the ratios of all problems."""
    logging.getLogger("skinfluence").setLevel(logging.WARNING)
    rows = [
        row
        for problem in PROBLEMS
        for row in leave_one_out(*problem, max(2, repeats // 3))
    ]
    return [*rows, *against_the_loop(repeats)]
