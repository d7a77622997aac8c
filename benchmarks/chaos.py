"""Estimated against true influence of ReLU networks at larger learning rates.

300 digits, 50 epochs, double precision: the correlation and the sizes of the estimated
and the true change of the validation loss without each of the first 40 samples.

    python benchmarks/chaos.py

A row for each run goes to benchmarks/chaos.csv, the documentation's table to
benchmarks/results/chaos.csv.
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
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import tables
from skinfluence import SGDInfluenceClassifier
from skinfluence.exceptions import InfluenceReliabilityWarning

RUNS = {
    (100,): (0.05, 0.1, 0.2, 0.5, 1.0),
    (64, 64, 64): (0.05, 0.2, 0.5),
}
N_VERIFIED = 40


def run() -> Iterator[dict[str, Any]]:
    """Yield a row for each network and learning rate."""
    X, y = load_digits(return_X_y=True)
    X, X_val, y, y_val = train_test_split(X / 16, y, train_size=300, random_state=0)
    for layers, rates in RUNS.items():
        for lr in rates:
            clf = SGDInfluenceClassifier(
                module__hidden_layer_sizes=layers,
                module__activation="relu",
                lr=lr,
                max_epochs=50,
                batch_size=50,
                dtype="float64",
                random_state=0,
            ).fit(X, y)
            estimated = clf.influence(X_val, y_val)[:N_VERIFIED]
            exact = clf.counterfactual_influence(X_val, y_val, range(N_VERIFIED))
            yield {
                "hidden layers": ", ".join(map(str, layers)),
                "learning rate": lr,
                "correlation": np.corrcoef(estimated, exact)[0, 1],
                "estimated size": np.abs(estimated).mean(),
                "true size": np.abs(exact).mean(),
                "accuracy": clf.score(X_val, y_val),
            }


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table."""
    table = rows.drop(columns="accuracy")
    # Near 1, two decimals would hide the difference.
    table["correlation"] = [
        f"{r:.3f}" if r > 0.95 else f"{r:.2f}" for r in rows["correlation"]
    ]
    for name in ("estimated size", "true size"):
        table[name] = [_two_digits(size) for size in rows[name]]
    return table


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
    # The table itself shows how reliable the influence is.
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    if options.report:
        rows = pd.read_csv(options.output)
    else:
        rows = pd.DataFrame(run())
        rows.to_csv(options.output, index=False, float_format="%.6g")
    tables.write(documented(rows), "chaos", options.output)
    print(rows.to_string())


if __name__ == "__main__":
    main()
