"""One worker of a Dask cluster against two: how the time falls.

For the folds of a cross-influence and the chunks of a counterfactual influence, pairs
of runs on a cluster of one process and on one of two, in turn: the medians over the
pairs of the ratios of their times on the clock, and of the processor times of the
program and the busiest worker together. The second is what a machine would need that
is idle and has a processor for each worker; on a busy one the first says little. With a
single worker, joblib does the work in the program itself.

    python benchmarks/clusters.py

writes benchmarks/clusters.csv, a row for each pair, and the documentation's table.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster
from sklearn.datasets import load_digits

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import tables
from skinfluence import InfluenceCleaner, SGDInfluenceClassifier

OUTPUT = Path("benchmarks/clusters.csv")
OPTIONS = {"max_epochs": 20, "batch_size": 50, "random_state": 0}

digits, labels = load_digits(return_X_y=True)
X, y = digits[:600] / 16, labels[:600]
X_val, y_val = digits[600:1000] / 16, labels[600:1000]


def network() -> SGDInfluenceClassifier:
    return SGDInfluenceClassifier(**OPTIONS, n_threads=1)


def folds() -> None:
    InfluenceCleaner(network(), cv=9, n_remove=50, random_state=0).fit(X, y)


def chunks() -> None:
    fitted = network().fit(X, y)
    fitted.counterfactual_influence(X_val, y_val, np.arange(128))


WORK: dict[str, Callable[[], None]] = {
    "cross-influence, 9 folds": folds,
    "counterfactual influence, 128 samples": chunks,
}


def times(client: Client, work: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds on the clock, and of the processors one after the other."""
    before = client.run(time.process_time)
    clock, own = time.perf_counter(), time.process_time()
    with joblib.parallel_config("dask", client=client):
        work()
    clock, own = time.perf_counter() - clock, time.process_time() - own
    after = client.run(time.process_time)
    return clock, own + max(after[worker] - before[worker] for worker in after)


def measured(n_pairs: int) -> pd.DataFrame:
    """Return the seconds of each pair."""
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        clients = {}
        for count in (1, 2):
            cluster = LocalCluster(
                n_workers=count, threads_per_worker=1, dashboard_address=":0"
            )
            clients[count] = stack.enter_context(Client(stack.enter_context(cluster)))
        for name, work in WORK.items():
            for pair in range(-1, n_pairs):
                order = (1, 2) if pair % 2 else (2, 1)
                found = {count: times(clients[count], work) for count in order}
                if pair < 0:  # the workers import
                    continue
                for count, (clock, processor) in found.items():
                    row = {"work": name, "pair": pair, "workers": count}
                    rows.append({**row, "clock": clock, "processor": processor})
                    print(rows[-1], file=sys.stderr)
    return pd.DataFrame(rows)


def table_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table: medians of the ratios over the pairs."""
    lines = []
    for name in WORK:
        own = rows[rows["work"] == name].set_index(["pair", "workers"])
        one, two = own.xs(1, level="workers"), own.xs(2, level="workers")
        ratios = {
            kind: statistics.median(two[kind] / one[kind])
            for kind in ("processor", "clock")
        }
        lines.append(
            {
                "work": name,
                "seconds with one worker": f"{one['processor'].median():.1f}",
                "with two / with one": f"{ratios['processor']:.2f}",
                "the same on the clock": f"{ratios['clock']:.2f}",
            }
        )
    return pd.DataFrame(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    rows = measured(options.pairs)
    tables.store(rows, options.output)
    table = table_of(rows)
    tables.write(table, options.output.stem, options.output)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
