"""Cleaning flipped labels: what each ranking finds and gains.

    python benchmarks/cleaning.py

writes benchmarks/cleaning.csv, a row for each problem, seed and ranking, and the
documentation's table, benchmarks/results/cleaning.csv. `--report` computes nothing: it
prints means and standard deviations over the seeds and writes the table.
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
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tables
from skinfluence import SGDInfluenceClassifier
from skinfluence.cleaning import InfluenceCleaner
from skinfluence.datasets import flip_labels

Split = dict[str, np.ndarray]


def digits(seed: int) -> tuple[SGDInfluenceClassifier, Split]:
    """Return the hard setting: a network that memorizes wrong labels."""
    X, y = load_digits(return_X_y=True)
    clf = SGDInfluenceClassifier(
        module__hidden_layer_sizes=(128,),
        module__activation="relu",
        lr=0.2,
        max_epochs=100,
        batch_size=50,
        random_state=seed,
    )
    return clf, _split((X / 16).astype(np.float32), y, 1000, 400, seed)


def breast_cancer(seed: int) -> tuple[SGDInfluenceClassifier, Split]:
    X, y = load_breast_cancer(return_X_y=True)
    clf = SGDInfluenceClassifier(
        module__activation="relu", max_epochs=50, batch_size=20, random_state=seed
    )
    return clf, _split(StandardScaler().fit_transform(X), y, 400, 85, seed)


def _split(X: np.ndarray, y: np.ndarray, n_train: int, n_val: int, seed: int) -> Split:
    X, X_rest, y, y_rest = train_test_split(X, y, train_size=n_train, random_state=seed)
    X_val, X_test, y_val, y_test = train_test_split(
        X_rest, y_rest, train_size=n_val, random_state=seed
    )
    return {
        "X": X,
        "y": y,
        "X_val": X_val,
        "y_val": y_val,
        "X_test": X_test,
        "y_test": y_test,
    }


# name, data, fraction of flipped labels, number removed
PROBLEMS: list[tuple[str, Callable[[int], Any], float, int]] = [
    ("digits, 20 % flipped", digits, 0.2, 200),
    ("breast cancer, 15 % flipped", breast_cancer, 0.15, 60),
]

RANKINGS: dict[str, dict[str, Any]] = {
    "influence, at='path'": {"at": "path"},
    "influence, at='epochs'": {"at": "epochs"},
    "influence, at='final'": {"at": "final"},
    "loss": {"scorer": "loss"},
    "IsolationForest": {"scorer": IsolationForest(random_state=0)},
    "random": {"scorer": "random"},
}


def removed_by_cleanlab(clf: Any, X: np.ndarray, y: np.ndarray, count: int) -> Any:
    """Return the samples with the lowest label quality, or None without cleanlab."""
    try:
        from cleanlab.classification import CleanLearning
    except ImportError:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        issues = CleanLearning(clone(clf)).find_label_issues(X, y)
    return np.argsort(issues["label_quality"].to_numpy(), kind="stable")[:count]


def one_split(
    load: Callable[[int], Any],
    fraction: float,
    count: int,
    seed: int,
    rankings: list[str],
) -> Iterator[dict[str, Any]]:
    """Yield precision and gain of each ranking on one split."""
    clf, split = load(seed)
    X, y_true = split["X"], split["y"]
    y, flipped = flip_labels(y_true, fraction, random_state=seed)

    def accuracy(kept: np.ndarray) -> float:
        model = clone(clf).fit(X[kept], y[kept])
        return float(model.score(split["X_test"], split["y_test"]))

    before = accuracy(np.ones(len(y), dtype=bool))

    def row(name: str, removed: np.ndarray, after: float) -> dict[str, Any]:
        return {
            "ranking": name,
            "precision": flipped[removed].mean(),
            "before": before,
            "after": after,
            "gain": 100 * (after - before),
        }

    for name in rankings:
        cleaner = InfluenceCleaner(
            clf, n_remove=count, random_state=seed, **RANKINGS[name]
        )
        cleaner.fit(X, y, split["X_val"], split["y_val"])
        after = cleaner.score(split["X_test"], split["y_test"])
        yield row(name, cleaner.removed_indices_, after)
    every = len(rankings) == len(RANKINGS)
    removed = removed_by_cleanlab(clf, X, y, count) if every else None
    if removed is not None:
        yield row("cleanlab", removed, accuracy(~np.isin(np.arange(len(y)), removed)))
    yield row("exactly the flipped", np.flatnonzero(flipped), accuracy(~flipped))


def auto_on_clean_data(load: Callable[[int], Any], seed: int) -> dict[str, Any]:
    """Return what ``n_remove="auto"`` does on clean data."""
    clf, split = load(seed)
    cleaner = InfluenceCleaner(clf, n_remove="auto", random_state=seed)
    cleaner.fit(split["X"], split["y"], split["X_val"], split["y_val"])
    before = clone(clf).fit(split["X"], split["y"])
    scores = [m.score(split["X_test"], split["y_test"]) for m in (before, cleaner)]
    return {
        "ranking": "influence, n_remove='auto'",
        "n_removed": cleaner.n_removed_,
        "before": scores[0],
        "after": scores[1],
        "gain": 100 * (scores[1] - scores[0]),
    }


def run(seeds: range, rankings: list[str]) -> pd.DataFrame:
    """Return one row for each problem, ranking and seed."""
    rows = []
    for name, load, fraction, count in PROBLEMS:
        for seed in seeds:
            for row in one_split(load, fraction, count, seed, rankings):
                rows.append({"problem": name, "seed": seed, **row})
            if len(rankings) == len(RANKINGS):
                clean = f"{name.split(',')[0]}, clean"
                row = auto_on_clean_data(load, seed)
                rows.append({"problem": clean, "seed": seed, **row})
            print(f"{name}: seed {seed} done", file=sys.stderr)
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean and standard deviation over the seeds."""
    values = ["precision", "n_removed", "before", "after", "gain"]
    values = [value for value in values if value in rows]
    table = rows.groupby(["problem", "ranking"], sort=False)[values]
    return table.agg(["mean", "std"])


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table."""
    table = []
    for (problem, ranking), row in summary(rows).iterrows():

        def text(name: str, form: str, row: Any = row) -> str:
            return tables.plus_minus(row[name, "mean"], row[name, "std"], form)

        counted = "n_removed" in rows and not pd.isna(row["n_removed", "mean"])
        found = text("n_removed", ".1f") + " removed"
        table.append(
            {
                "data": problem,
                "removed first by": ranking,
                "precision": found if counted else text("precision", ".2f"),
                "test accuracy, before": text("before", ".3f"),
                "after": text("after", ".3f"),
                "gain (points)": text("gain", ".1f"),
            }
        )
    return tables.without_repeats(table, "data")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--rankings",
        nargs="+",
        choices=RANKINGS,
        default=list(RANKINGS),
        help="only these, without cleanlab and without n_remove='auto'",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/cleaning.csv"))
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.report:
        rows = pd.read_csv(options.output)
    else:
        rows = run(range(options.seeds), options.rankings)
        rows.to_csv(options.output, index=False, float_format="%.6g")
    tables.write(documented(rows), "cleaning", options.output)
    with pd.option_context("display.width", 140, "display.precision", 3):
        print(summary(rows).to_string(na_rep="-"))


if __name__ == "__main__":
    main()
