"""Where the derivative fails as the learning rate grows, and what helps there.

300 digits, 50 epochs, double precision: the sizes of the estimated and of the true
change of the validation loss without each of the first 40 samples, and Kendall's rank
correlation of the two; with the whole run retraced, with its kinks smoothed, and with
its last epochs only.

    python benchmarks/chaos.py

A row for each run goes to benchmarks/chaos.csv, the documentation's table to
benchmarks/results/chaos.csv.
"""

import argparse
import itertools
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import tables
from skinfluence import SGDInfluenceClassifier
from skinfluence.exceptions import InfluenceReliabilityWarning
from skinfluence.metrics import kendall_tau

RUNS = {
    (100,): (0.05, 0.1, 0.2, 0.5, 1.0),
    (64, 64, 64): (0.05, 0.2, 0.5),
}
N_VERIFIED = 40
WAYS = {
    "rank correlation": {},
    "smoothing='auto'": {"smoothing": "auto"},
    "last_epochs=5": {"last_epochs": 5},
}


def run() -> Iterator[dict[str, Any]]:
    """Yield a row for each network, learning rate and activation."""
    X, y = load_digits(return_X_y=True)
    X, X_val, y, y_val = train_test_split(X / 16, y, train_size=300, random_state=0)
    for layers, rates in RUNS.items():
        for lr, activation in itertools.product(rates, ("relu", "gelu")):
            clf = SGDInfluenceClassifier(
                module__hidden_layer_sizes=layers,
                module__activation=activation,
                lr=lr,
                max_epochs=50,
                batch_size=50,
                dtype="float64",
                random_state=0,
            ).fit(X, y)
            yield {
                "hidden layers": ", ".join(map(str, layers)),
                "learning rate": lr,
                "activation": activation,
                "accuracy": clf.score(X_val, y_val),
                **_measured(clf, X_val, y_val),
            }


def _measured(clf: Any, X_val: Any, y_val: Any) -> dict[str, Any]:
    exact = clf.counterfactual_influence(X_val, y_val, range(N_VERIFIED))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimated = clf.influence(X_val, y_val)[:N_VERIFIED]
    kinds = [warning.category for warning in caught]
    # The other estimates may warn too; without kinks, that there is nothing to smooth.
    with warnings.catch_warnings(action="ignore"):
        agreement = {
            name: kendall_tau(clf.influence(X_val, y_val, **way)[:N_VERIFIED], exact)
            for name, way in WAYS.items()
        }
    return {
        "estimated size": np.abs(estimated).mean(),
        "true size": np.abs(exact).mean(),
        "warns": InfluenceReliabilityWarning in kinds,
        **agreement,
    }


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table."""
    table = rows.assign(warns=rows["warns"].map({True: "yes", False: "no"}))
    table["learning rate"] = rows["learning rate"].astype(str)
    table["activation"] = rows["activation"].map({"relu": "ReLU", "gelu": "GELU"})
    for name in ("estimated size", "true size"):
        table[name] = [_two_digits(size) for size in rows[name]]
    for name in ("accuracy", *WAYS):
        table[name] = [f"{value:.2f}".replace("-", "−") for value in rows[name]]
    # A smooth network has nothing to smooth.
    table.loc[rows["activation"] == "gelu", "smoothing='auto'"] = ""
    repeated = rows.duplicated(["hidden layers", "learning rate"])
    table.loc[repeated, ["hidden layers", "learning rate"]] = ""
    short = {"smoothing='auto'": "smoothed", "last_epochs=5": "last 5 epochs"}
    return table.rename(columns=short)


def _two_digits(size: float) -> str:
    # The format g would write 5,300 with an exponent.
    return f"{size:#.2g}" if size < 10 else f"{float(f'{size:.1e}'):,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/chaos.csv"))
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.report:
        rows = pd.read_csv(options.output)
    else:
        rows = pd.DataFrame(run())
        rows.to_csv(options.output, index=False, float_format="%.6g")
    tables.write(documented(rows), "chaos", options.output)
    print(rows.to_string())


if __name__ == "__main__":
    main()
