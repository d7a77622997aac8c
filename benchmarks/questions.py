"""What other questions cost beside `influence`, as ratios of process time in one run.

    python -m benchmarks.questions

writes benchmarks/questions.csv.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from benchmarks import speed
from skinfluence import SGDInfluenceClassifier

# The most that a question may cost, in retraces.
BOUNDS = {"feature_influence": 1.3, "recipe_influence": 1.1}

Data = tuple[np.ndarray, np.ndarray]


def mnist_mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))


MOMENTUM = {"lr": 0.05, "optimizer__momentum": 0.9}
ADAM = {"lr": 0.001, "optimizer": torch.optim.Adam}
PROBLEMS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Data], dict]] = {
    "digits, MLP, momentum": (speed.digits_mlp, speed.digits, MOMENTUM),
    "digits, MLP, Adam": (speed.digits_mlp, speed.digits, ADAM),
    "MNIST, MLP, momentum": (mnist_mlp, speed.images, MOMENTUM),
}


def seconds(function: Callable[..., object], *given: object) -> float:
    """Return the process time of a call: other processes do not count."""
    start = time.process_time()
    function(*given)
    return time.process_time() - start


def run(repeats: int, n_train: int = 600, epochs: int = 3) -> Iterator[dict[str, Any]]:
    """Yield the ratios, the calls of each round in turn."""
    for problem, (make, load, options) in PROBLEMS.items():
        X, y = load()
        asked = X[n_train : n_train + 200], y[n_train : n_train + 200]
        clf = SGDInfluenceClassifier(
            make, max_epochs=epochs, batch_size=64, random_state=0, **options
        ).fit(X[:n_train], y[:n_train])
        clf.influence(*asked)
        ratios: dict[str, list[float]] = {name: [] for name in BOUNDS}
        for name in BOUNDS:
            getattr(clf, name)(*asked)
        for _ in range(repeats):
            plain = seconds(clf.influence, *asked)
            for name, found in ratios.items():
                taken = seconds(getattr(clf, name), *asked)
                found.append(taken / plain)
        for name, bound in BOUNDS.items():
            yield {
                "problem": problem,
                "question": name,
                "median ratio": statistics.median(ratios[name]),
                "smallest": min(ratios[name]),
                "largest": max(ratios[name]),
                "at most": bound,
            }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/questions.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # only time is measured, on noise
    rows = pd.DataFrame(run(options.repeats))
    rows.to_csv(options.output, index=False, float_format="%.3g")
    print(rows.to_string(index=False))


if __name__ == "__main__":
    main()
