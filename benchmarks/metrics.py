"""Does the influence on a metric's surrogate have the sign of the exact change?

    python benchmarks/metrics.py

writes benchmarks/metrics.csv, a row for each problem and metric, and the
documentation's table, benchmarks/results/metrics.csv: of the twenty training samples
with the largest influence, the share whose exact change of the metric itself has the
same sign. Adult is skipped without its data. `--report` computes nothing.
"""

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_diabetes, load_digits
from sklearn.preprocessing import scale

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tables
from benchmarks.queries import adult
from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor, queries
from skinfluence.exceptions import InfluenceReliabilityWarning

STRONGEST = 20

Problem = tuple[Any, np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[Any]]


def of_classes(
    X: np.ndarray, y: np.ndarray, n_train: int, n_val: int, **options: Any
) -> Problem:
    """Return a fitted net, its data, and what to ask; the groups are by brightness."""
    rows = np.random.default_rng(0).permutation(len(X))
    train, val = rows[:n_train], rows[n_train : n_train + n_val]
    clf = SGDInfluenceClassifier(batch_size=50, random_state=0, **options)
    clf.fit(X[train], y[train])
    sums = X[val].sum(axis=1)
    groups = sums > np.median(sums)
    asked = ["auc", "average_precision", "f1", "log_loss", "brier", "calibration"]
    more: list[Any] = [queries.worst_group(groups)]
    if len(np.unique(y)) == 2:
        more += [queries.demographic_parity(groups), queries.equalized_odds(groups)]
    return clf, X[train], y[train], X[val], y[val], [*asked, *more]


def problems() -> Iterator[tuple[str, Problem]]:
    """Yield the problems, by name."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    yield "digits", of_classes(X, y, 500, 800, max_epochs=15)
    yield "digits, 5 to 9", of_classes(X, (y > 4) * 1, 500, 800, max_epochs=15)
    X, y = load_diabetes(return_X_y=True)
    X, y = scale(X).astype(np.float32), scale(y).astype(np.float32)
    reg = SGDInfluenceRegressor(max_epochs=15, random_state=0).fit(X[:300], y[:300])
    asked = ["r2", "quantile_loss"]
    yield "diabetes", (reg, X[:300], y[:300], X[300:], y[300:], asked)
    try:
        (X, y), *_ = adult()
    except OSError as error:  # no files, and no network
        print(f"Adult skipped: {error}", file=sys.stderr)
        return
    options = {"max_epochs": 10, "module__hidden_layer_sizes": (32,)}
    yield "Adult", of_classes(X, y, 1000, 3000, **options)


def run() -> pd.DataFrame:
    """Return a row for each problem and metric."""
    rows = []
    for data, (net, _, _, X_val, y_val, asked) in problems():
        for query in asked:
            scores = net.influence(X_val, y_val, query=query)
            top = np.argsort(-np.abs(scores))[:STRONGEST]
            exact = net.counterfactual_influence(X_val, y_val, top, query=query)
            rows.append(
                {
                    "data": data,
                    "metric": query if isinstance(query, str) else query.name,
                    "same sign": int((scores[top] * exact > 0).sum()),
                    "no change": int((exact == 0).sum()),
                    "correlation": np.corrcoef(scores[top], exact)[0, 1],
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table."""
    shares = rows.assign(share=[f"{n} of {STRONGEST}" for n in rows["same sign"]])
    names = rows["data"].unique()
    table = shares.pivot(index="metric", columns="data", values="share")
    return table.loc[rows["metric"].unique(), names].fillna("").reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/metrics.csv"))
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    if not options.report:
        run().to_csv(options.output, index=False, float_format="%.4g")
    rows = pd.read_csv(options.output)
    tables.write(documented(rows), "metrics", options.output)
    print(rows.to_string())


if __name__ == "__main__":
    main()
