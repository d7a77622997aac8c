"""Removing, relabelling and reweighting digits of which 20 % have flipped labels.

    python benchmarks/actions.py

writes benchmarks/actions.csv, a row for each seed and action, and the documentation's
table, benchmarks/results/actions.csv. Seeds already in the file are skipped. `--report`
computes nothing: it prints means and standard errors over the seeds and writes the
table.
"""

import argparse
import sys
import warnings
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

OUTPUT = Path("benchmarks/actions.csv")
FLIPPED = 0.2
COUNT = 200
# The test accuracy is averaged over this many final fits: single fits differ by more
# than the actions do.
N_FITS = 5
ACTIONS = ["nothing", "remove", "relabel", "reweight"]
ACTIONS += ["exactly the flipped removed", "exactly the flipped relabelled"]


def one_seed(seed: int, at: str) -> list[dict[str, Any]]:
    """Return what each action finds and gains on one split."""
    clf, split = digits(seed)
    X, y_true = split["X"], split["y"]
    y, flipped = flip_labels(y_true, FLIPPED, random_state=seed)
    plain = clone(clf).set_params(record=None)

    def accuracy(rows: Any, labels: np.ndarray, weights: Any = None) -> float:
        fits = [
            clone(plain)
            .set_params(random_state=1000 * seed + k)
            .fit(X[rows], labels[rows], sample_weight=weights)
            for k in range(N_FITS)
        ]
        return float(np.mean([m.score(split["X_test"], split["y_test"]) for m in fits]))

    every = np.arange(len(y))
    rows = [
        {"action": "nothing", "accuracy": accuracy(every, y)},
        {
            "action": "exactly the flipped removed",
            "flips": 1.0,
            "accuracy": accuracy(~flipped, y),
        },
        {
            "action": "exactly the flipped relabelled",
            "flips": 1.0,
            "right": 1.0,
            "accuracy": accuracy(every, y_true),
        },
    ]
    for action in ("remove", "relabel", "reweight"):
        cleaner = InfluenceCleaner(
            clf, n_remove=COUNT, at=at, action=action, random_state=seed
        )
        cleaner.fit(X, y, split["X_val"], split["y_val"])
        row = {"action": action}
        if action == "remove":
            row["flips"] = flipped[cleaner.removed_indices_].mean()
            row["accuracy"] = accuracy(cleaner.support_, y)
        elif action == "relabel":
            table = cleaner.relabelled_
            wrong = flipped[table["index"]]
            right = table["to"].to_numpy() == y_true[table["index"]]
            mended = y.copy()
            mended[table["index"]] = table["to"]
            row.update(flips=wrong.mean(), right=right[wrong].mean())
            row["accuracy"] = accuracy(every, mended)
        else:
            weights = cleaner.sample_weight_
            row["flips"] = flipped[weights.argsort(kind="stable")[:COUNT]].mean()
            row["accuracy"] = accuracy(every, y, weights)
        rows.append(row)
    return [{"seed": seed, "at": at, **row} for row in rows]


def report(rows: pd.DataFrame) -> str:
    """Return means and standard errors over the seeds as text."""
    groups = rows.groupby(["at", "action"], sort=False)[["flips", "right", "accuracy"]]
    return groups.agg(["mean", "sem"]).to_string(
        na_rep="-", float_format="{:.3f}".format
    )


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table, of the actions along the path."""
    groups = rows[rows["at"] == "path"].groupby("action")
    mean, error = groups.mean(numeric_only=True), groups.sem(numeric_only=True)
    forms = {"flips": ".2f", "right": ".2f", "accuracy": ".3f"}
    table = pd.DataFrame({"action": ACTIONS})
    for name, form in forms.items():
        table[name] = [
            tables.plus_minus(mean.loc[each, name], error.loc[each, name], form)
            for each in ACTIONS
        ]
    return table.rename(columns={"accuracy": "test accuracy"})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="number of splits")
    parser.add_argument("--at", default="path", choices=["final", "epochs", "path"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # The table itself shows how reliable the influence is.
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    rows = pd.DataFrame(columns=["seed", "at", "action", "flips", "right", "accuracy"])
    if options.output.exists():
        rows = pd.read_csv(options.output, comment="#")
    done = set(rows.loc[rows["at"] == options.at, "seed"])
    for seed in [] if options.report else set(range(options.seeds)) - done:
        fresh = pd.DataFrame(one_seed(seed, options.at), columns=rows.columns)
        rows = fresh if rows.empty else pd.concat([rows, fresh], ignore_index=True)
        command = f"# python benchmarks/actions.py --seeds {options.seeds}\n"
        part = options.output.with_suffix(".part")
        part.write_text(command + rows.to_csv(index=False, float_format="%.6g"))
        part.replace(options.output)
        print(f"seed {seed} done", file=sys.stderr)
    print(report(rows))
    if set(ACTIONS) <= set(rows.loc[rows["at"] == "path", "action"]):
        tables.write(documented(rows), "actions", options.output)


if __name__ == "__main__":
    main()
