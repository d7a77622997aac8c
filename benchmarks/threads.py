"""One thread against two: the time of training and retracing, by the size of a step.

For each network and batch size, pairs of runs on one thread and on two, in turn: the
medians over the pairs of the ratios of their times on the clock, and of the times of
the processor. Run it on an idle machine, and on a busy one, where the times on the
clock of two threads are many times as long. `operations` are those of a step's forward
pass, in millions, by which ``n_threads="auto"`` decides.

    python benchmarks/threads.py
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from skinfluence import SGDInfluenceClassifier

OUTPUT = Path("benchmarks/threads.csv")
N_FEATURES, N_CLASSES, SIDE = 64, 10, 16
STEPS = 24


class Convolutions(nn.Module):
    """A small convolutional network on images of 16 by 16."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, width, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2)),
            *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2)),
            *(nn.Flatten(), nn.Linear(2 * width * (SIDE // 4) ** 2, N_CLASSES)),
        )

    def forward(self, X: Any) -> Any:
        """Return the logits."""
        return self.layers(X)


def mlp_operations(width: int) -> int:
    """Return a row's additions and multiplications, forwards."""
    return 2 * width * (N_FEATURES + width + N_CLASSES)


def cnn_operations(width: int) -> int:
    """Return a row's additions and multiplications, forwards."""
    first = SIDE**2 * 9 * width
    second = (SIDE // 2) ** 2 * 9 * width * 2 * width
    return 2 * (first + second + 2 * width * (SIDE // 4) ** 2 * N_CLASSES)


NETWORKS: dict[str, tuple[Callable[[int], int], Any]] = {
    "mlp": (mlp_operations, lambda w: {"module__hidden_layer_sizes": (w, w)}),
    "cnn": (cnn_operations, lambda w: {"module": Convolutions, "module__width": w}),
}
SIZES = [
    *(("mlp", width, 64) for width in (64, 256, 512, 1024)),
    ("mlp", 1024, 256),
    *(("cnn", width, 64) for width in (4, 16)),
]


def times(network: str, width: int, batch: int, n_threads: int) -> tuple[float, float]:
    """Return the seconds of a run and its retrace: on the clock, and of processors."""
    rng = np.random.default_rng(0)
    shape = (N_FEATURES,) if network == "mlp" else (1, SIDE, SIDE)
    X = rng.normal(size=(4 * batch, *shape)).astype(np.float32)
    y = np.arange(len(X)) % N_CLASSES
    clf = SGDInfluenceClassifier(
        **NETWORKS[network][1](width),
        batch_size=batch,
        max_epochs=STEPS // 4,
        n_threads=n_threads,
        callbacks="disable",
        random_state=0,
    )
    clock, processors = time.perf_counter(), time.process_time()
    clf.fit(X, y).influence(X[:batch], y[:batch])
    return time.perf_counter() - clock, time.process_time() - processors


def row(network: str, width: int, batch: int, n_pairs: int) -> dict[str, Any]:
    """Return the ratios for one size."""
    pairs = []
    times(network, width, batch, 1), times(network, width, batch, 2)
    for number in range(n_pairs):
        order = (1, 2) if number % 2 else (2, 1)
        found = {n: times(network, width, batch, n) for n in order}
        pairs.append([b / a for a, b in zip(found[1], found[2], strict=True)])
    clock, processors = (statistics.median(each) for each in zip(*pairs, strict=True))
    return {
        "network": network,
        "width": width,
        "batch": batch,
        "operations": round(batch * NETWORKS[network][0](width) / 1e6, 2),
        "clock": round(clock, 2),
        "processors": round(processors, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    rows = []
    for size in SIZES:
        rows.append(row(*size, options.pairs))
        print(rows[-1], file=sys.stderr)
        table = pd.DataFrame(rows).sort_values("operations")
        command = f"# python benchmarks/threads.py --pairs {options.pairs}\n"
        options.output.write_text(command + table.to_csv(index=False))


if __name__ == "__main__":
    main()
