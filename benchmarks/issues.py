"""Which planted faults of a table `skinfluence check` finds: Adult with copies.

    python benchmarks/issues.py

writes 10,000 rows of Adult and 2,000 to validate on as CSV: one label in ten is
flipped, 50 rows stand there twice, 20 are in the validation table too, one column is
the target in other words, one numbers the rows. `skinfluence check` searches them in
its defaults, and its processor time is taken. The figures go to benchmarks/issues.csv,
a row for each draw and kind, and to the documentation's table,
benchmarks/results/issues.csv. `--report` computes nothing.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tables, timing
from skinfluence.commands import main as skinfluence
from skinfluence.datasets import fetch_adult, flip_labels

OUTPUT = Path("benchmarks/issues.csv")
N_TRAIN, N_VALID, FLIPPED, COPIED, LEAKED = 10_000, 2_000, 0.1, 50, 20


def write_tables(folder: Path, seed: int) -> dict[str, set[Any]]:
    """Write the tables; return the lines, or the column, of each planted fault."""
    X, y = fetch_adult(subset="train", return_X_y=True)
    rng = np.random.RandomState(seed)
    rows = rng.permutation(len(X))[: N_TRAIN + N_VALID]
    frame = X.iloc[rows].assign(income=y.iloc[rows].astype(str).to_numpy())
    train, valid = frame[:N_TRAIN].copy(), frame[N_TRAIN:]
    noisy, flipped = flip_labels(train["income"], FLIPPED, random_state=seed)
    train["income"] = np.asarray(noisy)
    copied, leaked = np.split(rng.permutation(N_TRAIN)[: COPIED + LEAKED], [COPIED])
    valid = pd.concat([valid, train.iloc[leaked]])
    train = pd.concat([train, train.iloc[copied]])
    for name, table in {"train": train, "valid": valid}.items():
        code = np.where(table["income"] == ">50K", 8, 7)
        number = np.arange(len(table)) + (0 if name == "train" else 20_000)
        table.assign(code=code, number=number).to_csv(
            folder / f"{name}.csv", index=False
        )
    wrong = np.concatenate([flipped, flipped[copied]])
    # Lines of a file count from 1, and the first one has the names.
    return {
        "duplicates": set((N_TRAIN + np.arange(COPIED) + 2).tolist()),
        "leakage": set((leaked + 2).tolist()),
        "label_errors": set((np.flatnonzero(wrong) + 2).tolist()),
        "giveaway": {"code"},
        "identifier": {"number"},
    }


def measured(seed: int) -> Iterator[dict[str, Any]]:
    """Yield what is found of each kind of fault."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planted = write_tables(folder, seed)
        train, valid, report = (
            str(folder / each) for each in ("train.csv", "valid.csv", "found.json")
        )
        arguments = ["check", train, "--target", "income", "--valid", valid]
        arguments += ["--json", report, "--quiet"]
        began = time.process_time()
        assert skinfluence(arguments) == 0
        seconds = time.process_time() - began
        content = json.loads(Path(report).read_text())
    found: dict[str, set[Any]] = {}
    for issue in content["issues"]:
        what = issue["places"] or issue["keys"]
        found.setdefault(issue["kind"], set()).update(what)
    for kind in sorted({*planted, *found}):
        truth, told = planted.get(kind, set()), found.get(kind, set())
        yield {
            "seed": seed,
            "kind": kind,
            "planted": len(truth),
            "found": len(truth & told),
            "others": len(told - truth),
            "seconds": seconds,
        }


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table: means over the draws."""
    means = rows.groupby("kind", sort=False)[["planted", "found", "others"]].sum()
    means /= rows["seed"].nunique()
    return pd.DataFrame(
        {
            "fault": means.index,
            "planted": [f"{value:,.0f}" for value in means["planted"]],
            "of these found": [f"{value:,.0f}" for value in means["found"]],
            "others": [f"{value / N_TRAIN:.2%}" for value in means["others"]],
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--report", action="store_true", help="compute nothing")
    options = parser.parse_args()
    if not options.report:
        torch.set_num_threads(1)
        found = [row for seed in range(options.seeds) for row in measured(seed)]
        pd.DataFrame(found).to_csv(options.output, index=False, float_format="%.4g")
        print(timing.environment())
    rows = pd.read_csv(options.output)
    table = documented(rows)
    print(table.to_string(index=False))
    print(f"{rows['seconds'].mean():.0f} s of processor time each")
    tables.write(table, "issues", options.output)


if __name__ == "__main__":
    main()
