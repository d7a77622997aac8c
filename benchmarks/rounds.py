"""Cleaning digits with 20 % flipped labels in one round or in four.

With trusted validation data: the share of flips among the 200 removed samples, and the
gain in test accuracy of networks with other initial weights and batches.

    python benchmarks/rounds.py

writes benchmarks/rounds.csv, a row for each seed, `at` and number of rounds, and the
documentation's table, benchmarks/results/rounds.csv.
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
from sklearn.base import clone

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tables
from benchmarks.cleaning import digits
from skinfluence.cleaning import InfluenceCleaner
from skinfluence.datasets import flip_labels
from skinfluence.exceptions import InfluenceReliabilityWarning

OUTPUT = Path("benchmarks/rounds.csv")
COUNT, N_FITS = 200, 3


def one_seed(seed: int) -> Iterator[dict[str, Any]]:
    """Yield what each number of rounds finds and gains on one split."""
    clf, split = digits(seed)
    clf.set_params(module__activation="silu")
    X, (y, flipped) = split["X"], flip_labels(split["y"], 0.2, random_state=seed)

    def accuracy(rows: np.ndarray) -> float:
        plain = clone(clf).set_params(record=None)
        fits = [
            clone(plain.set_params(random_state=1000 * seed + k)).fit(X[rows], y[rows])
            for k in range(N_FITS)
        ]
        return float(np.mean([m.score(split["X_test"], split["y_test"]) for m in fits]))

    before = accuracy(np.arange(len(y)))
    for at in ("epochs", "path"):
        for n_rounds in (1, 4):
            cleaner = InfluenceCleaner(
                clf, n_remove=COUNT, n_rounds=n_rounds, at=at, random_state=seed
            )
            cleaner.fit_resample(X, y, split["X_val"], split["y_val"])
            yield {
                "seed": seed,
                "at": at,
                "n_rounds": n_rounds,
                "flips": flipped[cleaner.removed_indices_].mean(),
                "gain": 100 * (accuracy(cleaner.sample_indices_) - before),
            }


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table."""
    groups = rows.groupby(["at", "n_rounds"], sort=False)[["flips", "gain"]]
    means, errors = groups.mean(), groups.sem()
    table = means.index.to_frame(index=False)
    for name, form in (("flips", ".2f"), ("gain", "+.1f")):
        pairs = zip(means[name], errors[name], strict=True)
        table[name] = [tables.plus_minus(*pair, form) for pair in pairs]
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of splits")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    # The table itself shows how reliable the influence is.
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    rows = pd.DataFrame(row for seed in range(options.seeds) for row in one_seed(seed))
    rows.to_csv(options.output, index=False, float_format="%.6g")
    tables.write(documented(rows), "rounds", options.output)
    print(documented(rows).to_string())


if __name__ == "__main__":
    main()
