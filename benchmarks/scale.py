"""How costs grow with rows, questions and classes, and in a second process."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import nn

from benchmarks.speed import digits, digits_mlp, plain_training
from benchmarks.timing import interleaved, ratio
from skinfluence import SGDInfluenceClassifier

ROOT = Path(__file__).resolve().parents[1]
LR = 0.05
# Rows of the data, and of a batch, with the most that fit and retrace may cost.
ROWS = {
    (2_000, 64): (1.25, 2.0),
    (20_000, 64): (1.25, 2.0),
    (200_000, 64): (1.25, 2.0),
    (200_000, 1024): (1.1, 2.0),
}
# Validation samples asked for one by one, over their mean.
QUESTIONS = {10: 1.5, 100: 6.0, 400: 20.0}
# Classes that every sample's label is changed to, over `influence`.
CLASSES = {10: 1.5, 100: 3.0, 500: 3.0, 1000: 3.0}
SECOND_PROCESS = 3.0

# Fits and asks by compiled code, and prints the seconds of processor time.
_COMPILED = """
import time, torch
from benchmarks.speed import digits, digits_mlp
from skinfluence import SGDInfluenceClassifier
torch.set_num_threads(1)
X, y = digits()
clf = SGDInfluenceClassifier(digits_mlp, compile=True, max_epochs=2, random_state=0)
begun = time.process_time()
clf.fit(X[:1000], y[:1000]).influence(X[1000:], y[1000:])
print(time.process_time() - begun)
"""


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(50, 100), nn.ReLU(), nn.Linear(100, 2))


def drawn(n: int, n_features: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noise: the time does not depend on the values."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, n_features)).astype(np.float32)
    return X, rng.permutation(np.arange(n) % n_classes)


def _plain(tensors: tuple[torch.Tensor, torch.Tensor], batches: list[Any]) -> None:
    plain_training(mlp(), *tensors, batches, LR)


def rows(repeats: int) -> Iterator[dict[str, Any]]:
    """Yield what fit and retrace cost, beside a plain loop on as many rows."""
    for (n, batch_size), (fit, retrace) in ROWS.items():
        X, y = drawn(n, 50, 2)
        asked = drawn(400, 50, 2)
        options = {"lr": LR, "batch_size": batch_size, "random_state": 0}
        ours = SGDInfluenceClassifier(mlp, max_epochs=max(8000 // n, 1), **options)
        clf = clone(ours).fit(X, y)
        tensors = torch.from_numpy(X), torch.from_numpy(y)
        batches = [record.rows for record in clf.trajectory_.records]
        seconds = interleaved(
            {
                "plain PyTorch": partial(_plain, tensors, batches),
                "fit, recording": partial(ours.fit, X, y),
                "retrace": partial(clf.influence, *asked),
            },
            repeats,
            time.process_time,
        )
        problem = f"50-100-2, {n:,} rows, batch {batch_size}"
        for over, bound in (("fit, recording", fit), ("retrace", retrace)):
            row = ratio(seconds, over, "plain PyTorch")
            yield {"problem": problem, **row, "at most": bound}


def questions(repeats: int) -> Iterator[dict[str, Any]]:
    """Yield what single validation samples cost, beside their mean."""
    X, y = digits()
    options = {"lr": LR, "batch_size": 50, "max_epochs": 10, "random_state": 0}
    clf = SGDInfluenceClassifier(digits_mlp, **options).fit(X[:1000], y[:1000])
    for count, bound in QUESTIONS.items():
        asked = X[1000 : 1000 + count], y[1000 : 1000 + count]
        seconds = interleaved(
            {
                "each": partial(clf.influence, *asked, aggregate=None),
                "their mean": partial(clf.influence, *asked),
            },
            repeats,
            time.process_time,
        )
        row = ratio(seconds, "each", "their mean")
        yield {"problem": f"{count} questions", **row, "at most": bound}


def classes(repeats: int) -> Iterator[dict[str, Any]]:
    """Yield what every other label costs, beside `influence`."""
    for count, bound in CLASSES.items():
        X, y = drawn(2000, 20, count)
        options = {"lr": LR, "batch_size": 50, "max_epochs": 2, "random_state": 0}
        clf = SGDInfluenceClassifier("mlp", **options).fit(X, y)
        asked = X[:80], y[:80]
        seconds = interleaved(
            {
                "label influence": partial(clf.label_influence, *asked),
                "influence": partial(clf.influence, *asked),
            },
            repeats,
            time.process_time,
        )
        row = ratio(seconds, "label influence", "influence")
        yield {"problem": f"{count} classes", **row, "at most": bound}


def processes() -> Iterator[dict[str, Any]]:
    """Yield the seconds that compiling costs a process, alone and after another."""
    with tempfile.TemporaryDirectory() as folder:
        known = {"TORCHINDUCTOR_CACHE_DIR": folder, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", _COMPILED]
        for process, bound in (("first", "-"), ("second", SECOND_PROCESS)):
            done = subprocess.run(
                command,
                env=os.environ | known,
                capture_output=True,
                text=True,
                check=True,
            )
            spent = float(done.stdout)
            yield {
                "problem": "digits MLP, compiled",
                "ratio": f"seconds in the {process} process",
                "median": spent,
                "of minima": spent,
                "at most": bound,
            }


def run(repeats: int) -> list[dict[str, Any]]:
    """Return all rows."""
    return [*rows(repeats), *questions(repeats), *classes(repeats), *processes()]
