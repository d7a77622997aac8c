"""A learning-rate schedule improved by metagradients, against a grid of constant rates.

    python -m benchmarks.schedule [--small]

On 2,000 MNIST digits, or with --small on scikit-learn's. The schedule, one rate for
each epoch, starts from the best of a coarse grid, and takes steps along the derivatives
that ``recipe_influence`` returns; each costs a training and a retrace. A finer grid has
as many trainings as all of that cost. The rates are chosen on validation data and
judged on test data. Writes benchmarks/schedule.csv.
"""

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from skorch.callbacks import LRScheduler

from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import fetch_mnist

COARSE = (0.02, 0.2, 2.0)
# A step changes the logarithm of a rate by this much at most.
STEP = 0.3


class Rates:
    """The factor of each epoch's learning rate."""

    def __init__(self, rates: np.ndarray) -> None:
        self.rates = rates

    def __call__(self, epoch: int) -> float:
        return float(self.rates[min(epoch, len(self.rates) - 1)])


def trained(
    rates: np.ndarray, X: np.ndarray, y: np.ndarray, **options: Any
) -> SGDInfluenceClassifier:
    """Train with a learning rate for each epoch."""
    schedule = LRScheduler("LambdaLR", lr_lambda=Rates(rates))
    return SGDInfluenceClassifier(
        lr=1.0, max_epochs=len(rates), callbacks=[schedule], random_state=0, **options
    ).fit(X, y)


def improved(
    rates: np.ndarray, n_steps: int, data: tuple[Any, ...], **options: Any
) -> tuple[np.ndarray, list[float]]:
    """Return the best schedule on the way, and the validation loss of each."""
    X, y, X_val, y_val = data
    logs, losses, best = np.log(rates), [], rates
    for _ in range(n_steps):
        clf = trained(np.exp(logs), X, y, **options)
        losses.append(log_loss(y_val, clf.predict_proba(X_val)))
        if losses[-1] == min(losses):
            best = np.exp(logs)
        slopes = clf.recipe_influence(X_val, y_val).epochs["learning_rate"]
        in_logs = slopes.to_numpy() * np.exp(logs)
        logs = logs - STEP * in_logs / np.abs(in_logs).max()
    return best, losses


def run(small: bool, n_steps: int) -> list[dict[str, Any]]:
    if small:
        X, y = load_digits(return_X_y=True)
        X, sizes, epochs = (X / 16).astype(np.float32), (300, 300), 5
    else:
        X, y = fetch_mnist(return_X_y=True)
        X, sizes, epochs = (X[:10000] / 255).astype(np.float32), (2000, 2000), 10
    n, m = sizes
    train, val = (X[:n], y[:n]), (X[n : n + m], y[n : n + m])
    test = X[n + m :], y[n + m : len(X)]
    options = {"module__hidden_layer_sizes": (64,), "batch_size": 50}

    def judged(rates: np.ndarray) -> dict[str, Any]:
        clf = trained(rates, *train, **options)
        of = {}
        for name, (inputs, labels) in (("validation", val), ("test", test)):
            of[f"{name} loss"] = log_loss(labels, clf.predict_proba(inputs))
        return {**of, "test accuracy": clf.score(*test)}

    def best_of(grid: np.ndarray) -> tuple[float, dict[str, Any]]:
        found = [(rate, judged(np.full(epochs, rate))) for rate in grid]
        return min(found, key=lambda pair: pair[1]["validation loss"])

    start, coarse = best_of(np.array(COARSE))
    rates, _ = improved(np.full(epochs, start), n_steps, (*train, *val), **options)
    # A training and a retrace, which takes about two trainings more.
    size = len(COARSE) + 3 * n_steps
    rate, fine = best_of(np.geomspace(COARSE[0], COARSE[-1], size))
    shown = " ".join(f"{each:.2g}" for each in rates)
    return [
        {"rates": f"{start:.2g}", "chosen by": f"grid of {len(COARSE)}", **coarse},
        {"rates": f"{rate:.2g}", "chosen by": f"grid of {size}", **fine},
        {"rates": shown, "chosen by": f"{n_steps} metagradients", **judged(rates)},
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/schedule.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the table shows what the derivatives are worth
    rows = pd.DataFrame(run(options.small, options.steps))
    rows.to_csv(options.output, index=False, float_format="%.4g")
    print(rows.to_string(index=False))


if __name__ == "__main__":
    main()
