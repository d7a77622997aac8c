"""Lowering weights by metagradient descent, against removing as many samples.

With trusted validation data, on digits, Adult and MNIST, with one label in five flipped
and with none. The gain is in points of test accuracy, of networks with other initial
weights and batches.

    python benchmarks/weights.py

writes benchmarks/weights.csv, a row for each set, noise, split and method, and the
documentation's table, benchmarks/results/weights.csv. Rows already in the file are
skipped, so it can be interrupted. `--report` computes nothing: it writes the table.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import gain, scorers, tables
from skinfluence.cleaning import InfluenceCleaner, Reweight
from skinfluence.datasets import flip_labels
from skinfluence.exceptions import InfluenceReliabilityWarning

OUTPUT = Path("benchmarks/weights.csv")
KEYS = ["set", "noise", "seed", "method"]
NOISES = "flips", "none"
# How many samples to train on, to validate on and to test on.
SIZES = {
    "Adult": (2000, 500, 8000),
    "MNIST": (2000, 500, 3000),
    "digits": (1000, 400, 397),
}
FRACTION, N_FITS = 0.2, 3
DESCENT = {"early_stopping": 0.5, "step_size": 0.1}
METHODS: dict[str, dict[str, Any]] = {
    "remove": {},
    "five steps": {"action": Reweight("sgd", 1.0, None, False), "n_rounds": 5},
    "adam": {"action": Reweight("adam", **DESCENT, reseed=True), "n_rounds": 10},
    "adam, a fifth judges": {
        "action": Reweight("adam", 0.1, early_stopping=0.2, reseed=True),
        "n_rounds": 10,
    },
    "adam, same seed": {
        "action": Reweight("adam", **DESCENT, reseed=False),
        "n_rounds": 10,
    },
    "sign": {"action": Reweight("sign", **DESCENT, reseed=True), "n_rounds": 10},
}


def problem(name: str, noise: str, seed: int) -> tuple[Any, list[Any]]:
    """Return the estimator, and data to train on, to validate on and to test on."""
    clf, X, y, *_ = gain.SETS[name]()
    parts = scorers.split(X, y, SIZES[name], 1.0, seed)
    if noise == "flips":
        X_train, y_train = parts[0]
        parts[0] = X_train, flip_labels(y_train, FRACTION, random_state=seed)[0]
    clf = clone(clf).set_params(random_state=seed, module__activation="silu")
    return clf, parts


def measured(name: str, noise: str, seed: int, method: str) -> dict[str, float]:
    """Return what a method gains, and the seconds it takes."""
    clf, ((X, y), validation, test) = problem(name, noise, seed)

    def accuracy(rows: Any, weights: Any = None) -> float:
        plain = clone(clf).set_params(record=None)
        fits = [
            clone(plain.set_params(random_state=1000 * seed + k + 1)).fit(
                X[rows], y[rows], sample_weight=weights
            )
            for k in range(N_FITS)
        ]
        return float(np.mean([model.score(*test) for model in fits]))

    every = np.arange(len(y))
    if method == "nothing":
        return {"accuracy": accuracy(every)}
    cleaner = InfluenceCleaner(
        clf, n_remove=FRACTION, at="path", random_state=seed, **METHODS[method]
    )
    start = time.process_time()
    cleaner.fit(X, y, *validation)
    seconds = time.process_time() - start
    weights = getattr(cleaner, "sample_weight_", None)
    lowered = float("nan") if weights is None else 1 - weights.mean()
    after = accuracy(cleaner.sample_indices_, weights)
    return {"accuracy": after, "lowered": lowered, "seconds": seconds}


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table: the gain of each method, in points."""
    by = ["noise", "set", "seed"]
    before = rows[rows["method"] == "nothing"].set_index(by)["accuracy"]
    gains = rows[rows["method"] != "nothing"].join(before.rename("before"), on=by)
    gains["gain"] = 100 * (gains["accuracy"] - gains["before"])
    groups = gains.groupby(["method", "noise", "set"])["gain"].agg(["mean", "sem"])
    texts = [tables.plus_minus(*each, "+.1f") for each in groups.to_numpy()]
    wide = pd.Series(texts, groups.index).unstack(["noise", "set"]).sort_index(axis=1)
    wide = wide.reindex([each for each in METHODS if each in wide.index])
    wide.columns = [f"{name}: {noise}" for noise, name in wide.columns]
    return wide.fillna("").rename_axis("method").reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of splits")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=[*METHODS])
    parser.add_argument("--sets", nargs="*", choices=SIZES, default=[*SIZES])
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--report", action="store_true", help="write the table alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # The table itself shows how reliable the influence is.
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    rows = []
    if options.output.exists():
        rows = pd.read_csv(options.output).to_dict("records")
    done = {tuple(row[key] for key in KEYS) for row in rows}
    cases = [
        (name, noise, seed, method)
        for seed in range(options.seeds)
        for noise in NOISES
        for name in options.sets
        for method in ["nothing", *options.methods]
    ]
    for case in [] if options.report else cases:
        if case in done:
            continue
        rows.append({**dict(zip(KEYS, case, strict=True)), **measured(*case)})
        written = pd.DataFrame(rows)
        written.to_csv(options.output, index=False, float_format="%.6g")
        print(rows[-1], file=sys.stderr)
    table = documented(pd.DataFrame(rows))
    tables.write(table, "weights", options.output)
    print(table.to_string())


if __name__ == "__main__":
    main()
