"""Loss against expected error, with right and with wrong validation labels.

    python benchmarks/queries.py

writes benchmarks/queries.csv, a row for each problem, seed, query, validation data and
`at`, and the documentation's table, benchmarks/results/queries.csv. `--report` computes
nothing: it prints means and standard errors over the seeds and writes the table.
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
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tables
from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import fetch_adult, flip_labels
from skinfluence.exceptions import InfluenceReliabilityWarning

FLIPPED = 0.2

Data = tuple[np.ndarray, np.ndarray]


def digits() -> tuple[Data, int, int, dict[str, Any]]:
    X, y = load_digits(return_X_y=True)
    options = {"lr": 0.2, "max_epochs": 100, "batch_size": 50}
    options["module__hidden_layer_sizes"] = (128,)
    return ((X / 16).astype(np.float32), y), 1000, 400, options


def breast_cancer() -> tuple[Data, int, int, dict[str, Any]]:
    X, y = load_breast_cancer(return_X_y=True)
    options = {"max_epochs": 50, "batch_size": 20}
    return (StandardScaler().fit_transform(X), y), 350, 100, options


def adult() -> tuple[Data, int, int, dict[str, Any]]:
    X, y = fetch_adult(return_X_y=True)
    rare = {"min_frequency": 20, "handle_unknown": "infrequent_if_exist"}
    prepare = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (
            OneHotEncoder(sparse_output=False, **rare),
            make_column_selector(dtype_exclude="number"),
        ),
    )
    rows = np.random.default_rng(0).permutation(len(X))[:12_000]
    inputs = prepare.fit_transform(X.iloc[rows]).astype(np.float32)
    labels = np.unique(np.asarray(y)[rows].astype(str), return_inverse=True)[1]
    options = {"max_epochs": 30, "module__hidden_layer_sizes": (32,)}
    return (inputs, labels), 2000, 1000, options


PROBLEMS: dict[str, Callable[[], Any]] = {
    "digits": digits,
    "breast cancer": breast_cancer,
    "Adult": adult,
}


def one_seed(
    data: Data, n_train: int, n_val: int, options: dict[str, Any], seed: int
) -> Iterator[dict[str, Any]]:
    """Yield precision and gain for each query, validation data and `at`."""
    X, y_true = data
    y, flipped = flip_labels(y_true, FLIPPED, random_state=seed)
    rows = np.random.default_rng(seed).permutation(len(X))
    train, val = rows[:n_train], rows[n_train : n_train + n_val]
    test = rows[n_train + n_val :]
    clf = SGDInfluenceClassifier(
        module__activation="relu", random_state=seed, **options
    ).fit(X[train], y[train])
    before = clf.score(X[test], y_true[test])
    for labels, name in ((y_true, "right"), (y, "20 % wrong")):
        for query in ("loss", "error"):
            for at in ("final", "epochs", "path"):
                scores = clf.influence(X[val], labels[val], query=query, at=at)
                kept = train[np.sort(scores.argsort()[int(FLIPPED * n_train) :])]
                after = clone(clf).fit(X[kept], y[kept]).score(X[test], y_true[test])
                yield {
                    "validation labels": name,
                    "query": query,
                    "at": at,
                    "average precision": average_precision_score(
                        flipped[train], -scores
                    ),
                    "gain": 100 * (after - before),
                }


def run(seeds: range) -> pd.DataFrame:
    """Return one row for each problem, seed, query, validation data and `at`."""
    rows = []
    for name, load in PROBLEMS.items():
        try:
            data, *rest = load()
        except OSError as error:  # no files, and no network
            print(f"{name} skipped: {error}", file=sys.stderr)
            continue
        for seed in seeds:
            for row in one_seed(data, *rest, seed):
                rows.append({"data": name, "seed": seed, **row})
            print(f"{name}: seed {seed} done", file=sys.stderr)
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return means and standard errors over the seeds."""
    keys = ["data", "validation labels", "query", "at"]
    values = rows.groupby(keys, sort=False)[["average precision", "gain"]]
    return values.agg(["mean", "sem"])


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table."""
    means = summary(rows)

    def text(*key: str) -> str:
        row = means.loc[key]
        precision = tables.plus_minus(*row["average precision"], ".2f")
        return f"{precision} ({tables.plus_minus(*row['gain'], '+.1f')})"

    table = [
        {
            "data": data,
            "validation labels": labels,
            **{
                f'{query}, at="{at}"': text(data, labels, query, at)
                for query in ("loss", "error")
                for at in ("epochs", "path")
            },
        }
        for data in rows["data"].unique()
        for labels in rows["validation labels"].unique()
    ]
    return tables.without_repeats(table, "data")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/queries.csv"))
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    if options.report:
        rows = pd.read_csv(options.output)
    else:
        rows = run(range(options.seeds))
        rows.to_csv(options.output, index=False, float_format="%.6g")
    tables.write(documented(rows), "queries", options.output)
    with pd.option_context("display.width", 140, "display.precision", 2):
        print(summary(rows).to_string())


if __name__ == "__main__":
    main()
