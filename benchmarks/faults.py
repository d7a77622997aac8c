"""What faults do: kills, interrupts, damaged and hostile files, bad inputs, writers.

Each trial runs in a fork of this process, with a fixed seed.

    python benchmarks/faults.py

takes an hour on one core and writes benchmarks/faults.csv, a row for each
family, kind, fault and outcome, and the documentation's table,
benchmarks/results/faults.csv. `--only kills` runs one family and keeps the rows of the
others; `--scale 0.1` makes a tenth of the trials. The exit code is 1 if an outcome is
not as promised; these are printed, with an example each.
"""

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import tables
from benchmarks.fault_families import (
    Family,
    Outcome,
    corruptions,
    hostile,
    inputs,
    interrupts,
    kills,
    writers,
)

FAMILIES: dict[str, Family] = {
    "kills": kills.FAMILY,
    "interrupts": interrupts.FAMILY,
    "corruptions": corruptions.FAMILY,
    "hostile": hostile.FAMILY,
    "inputs": inputs.FAMILY,
    "writers": writers.FAMILY,
}
BY = ["family", "kind", "fault", "outcome", "promised"]


def outcomes(name: str, n_trials: int, seed: int) -> Iterator[Outcome]:
    """Yield the outcomes of a family's trials."""
    number = list(FAMILIES).index(name)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        rng = np.random.default_rng([seed, number])
        yield from FAMILIES[name].run(n_trials, rng, Path(folder))


def counted(name: str, n_trials: int, seed: int) -> pd.DataFrame:
    """Return how often each outcome came, and an example of each."""
    began = time.monotonic()
    found = pd.DataFrame(outcomes(name, n_trials, seed), columns=Outcome._fields)
    found["promised"] = found["outcome"].isin(FAMILIES[name].promised)
    found["family"] = name
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    groups = found.groupby(BY, sort=False)["detail"]
    return groups.agg(trials="size", example="first").reset_index()


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table: what came of the trials of each kind."""
    table = []
    for (family, kind), own in rows.groupby(["family", "kind"], sort=False):
        sums = own.groupby("outcome", sort=False)["trials"].sum()
        kept = own.loc[own["promised"], "trials"].sum()
        table.append(
            {
                "family": family,
                "kind": kind,
                "trials": own["trials"].sum(),
                "as promised": kept,
                "outcomes": ", ".join(f"{n} {outcome}" for outcome, n in sums.items()),
            }
        )
    return tables.without_repeats(table, "family")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--scale", type=float, default=1.0, help="of all trials")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/faults.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    rows = pd.read_csv(options.output) if options.output.exists() else pd.DataFrame()
    for name in options.only:
        if len(rows):
            rows = rows[rows["family"] != name]
        n_trials = max(1, round(options.scale * FAMILIES[name].n_trials))
        found = counted(name, n_trials, options.seed)
        for broken in found[~found["promised"]].itertuples():
            print(*broken[1:], sep=" | ", file=sys.stderr)
        rows = pd.concat([rows, found.drop(columns="example")], ignore_index=True)
        order = rows["family"].map(list(FAMILIES).index)
        rows = rows.iloc[np.argsort(order, kind="stable")]
        rows.to_csv(options.output, index=False)
    tables.write(documented(rows), "faults", options.output)
    print(documented(rows).to_string())
    return int(not rows["promised"].all())


if __name__ == "__main__":
    sys.exit(main())
