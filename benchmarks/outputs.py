"""Metrics of outputs that are moved by their influence, against surrogates of metrics.

    python benchmarks/outputs.py

writes benchmarks/outputs.csv, a row for each problem, draw of the data and metric, and
the documentation's table, benchmarks/results/outputs.csv: how often the sign is that of
the exact change, by the surrogate that `influence` differentiates, and by the metric of
the outputs after each has moved by the influence on it. Adult is skipped without its
data. `--report` computes nothing.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tables
from benchmarks.metrics import STRONGEST
from benchmarks.queries import Data, adult
from skinfluence import SGDInfluenceClassifier, queries
from skinfluence.exceptions import InfluenceReliabilityWarning


def digits(label: Callable[[np.ndarray], np.ndarray]) -> Data:
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), label(y) * 1


def loaded_adult() -> Data:
    data, *_ = adult()
    return data


PROBLEMS: dict[str, tuple[Callable[[], Data], int, int, dict[str, Any]]] = {
    "digits, 5 to 9": (lambda: digits(lambda y: y > 4), 400, 800, {"max_epochs": 15}),
    "digits, odd": (lambda: digits(lambda y: y % 2), 400, 800, {"max_epochs": 15}),
    "Adult": (
        loaded_adult,
        600,
        1200,
        {"max_epochs": 8, "module__hidden_layer_sizes": (32,)},
    ),
}


def log_odds(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return outputs[:, 1] - outputs[:, 0]


def value(metric: queries.Metric, odds: np.ndarray, y: np.ndarray) -> float:
    """Return a metric of log-odds."""
    found = torch.as_tensor(odds, dtype=torch.float64)
    sides = torch.stack([-found, found], dim=1)
    return float(metric.value(sides.sigmoid().log(), torch.as_tensor(y)))


def signs(scores: np.ndarray, exact: np.ndarray) -> tuple[int, float]:
    """Return the agreement of the strongest, and of all that change the metric."""
    top = np.argsort(-np.abs(scores))[:STRONGEST]
    same = scores * exact > 0
    return int(same[top].sum()), float(same[exact != 0].mean())


def one_draw(name: str, seed: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each metric."""
    load, n_train, n_val, options = PROBLEMS[name]
    X, y = load()
    rows = np.random.default_rng(seed).permutation(len(X))
    train, val = rows[:n_train], rows[n_train : n_train + n_val]
    clf = SGDInfluenceClassifier(batch_size=50, random_state=seed, **options)
    clf.fit(X[train], y[train])
    X, y = X[val], y[val]
    sums = X.sum(axis=1)
    groups = sums > np.median(sums)
    moved = clf.influence(X, y, query=log_odds, aggregate=None)
    proba = clf.predict_proba(X).astype(np.float64)
    odds = np.log(proba[:, 1]) - np.log(proba[:, 0])
    for metric in (
        queries.f1(),
        queries.calibration(),
        queries.demographic_parity(groups),
        queries.equalized_odds(groups),
    ):
        exact = clf.counterfactual_influence(X, y, query=metric)
        before = value(metric, odds, y)
        changes = np.array([value(metric, odds + each, y) - before for each in moved])
        by_surrogate = signs(clf.influence(X, y, query=metric), exact)
        by_outputs = signs(changes, exact)
        yield {
            "data": name,
            "draw": seed,
            "metric": metric.name,
            "surrogate": by_surrogate[0],
            "outputs": by_outputs[0],
            "surrogate, all": by_surrogate[1],
            "outputs, all": by_outputs[1],
        }


def run(draws: range) -> pd.DataFrame:
    """Return a row for each problem, draw and metric."""
    rows = []
    for name in PROBLEMS:
        try:
            for seed in draws:
                rows += list(one_draw(name, seed))
                print(rows[-1], file=sys.stderr, flush=True)
        except OSError as error:  # no files, and no network
            print(f"{name} skipped: {error}", file=sys.stderr)
    return pd.DataFrame(rows)


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table."""
    table = []
    for (data, metric), own in rows.groupby(["data", "metric"], sort=False):
        line = {"data": data, "metric": metric}
        for way in ("surrogate", "outputs"):
            counts = " and ".join(map(str, own[way]))
            line[f"by the {way}"] = f"{counts} of {STRONGEST}"
            share = 100 * own[f"{way}, all"].mean()
            line[f"by the {way}, of all"] = f"{share:.0f} %"
        table.append(line)
    return tables.without_repeats(table, "data")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/outputs.csv"))
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    if not options.report:
        rows = run(range(options.draws))
        rows.to_csv(options.output, index=False, float_format="%.4g")
    rows = pd.read_csv(options.output)
    tables.write(documented(rows), "outputs", options.output)
    print(rows.to_string())


if __name__ == "__main__":
    main()
