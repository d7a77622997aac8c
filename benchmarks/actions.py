"""What to do with the labels of digits of which 20 % have flipped ones.

    python benchmarks/actions.py

writes benchmarks/actions.csv, a row for each seed and action, and the documentation's
table, benchmarks/results/actions.csv. What is in the file already is skipped.
`--report` computes nothing: it prints means and standard errors over the seeds and
writes the table.
"""

import argparse
import sys
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.semi_supervised import SelfTrainingClassifier

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
ACTIONS = ["nothing", "remove", "relabel", "unlabel", "reweight"]
ACTIONS += ["exactly the flipped removed", "exactly the flipped relabelled"]


class Digits:
    """One split, its flipped labels, and the accuracy of what is made of them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.clf, self.split = digits(seed)
        self.X, self.y_true = self.split["X"], self.split["y"]
        self.y, self.flipped = flip_labels(self.y_true, FLIPPED, random_state=seed)

    def fits(self, X: Any, y: np.ndarray, weights: Any = None) -> list[Any]:
        """Return final models; those of labels -1 train themselves."""
        plain = clone(self.clf).set_params(record=None)
        nets = [
            clone(plain).set_params(random_state=1000 * self.seed + k)
            for k in range(N_FITS)
        ]
        if (y == -1).any():
            return [SelfTrainingClassifier(net).fit(X, y) for net in nets]
        return [net.fit(X, y, sample_weight=weights) for net in nets]

    def accuracy(self, models: list[Any]) -> float:
        """Return the mean test accuracy."""
        test = self.split["X_test"], self.split["y_test"]
        return float(np.mean([model.score(*test) for model in models]))

    def cleaned(self, action: str, at: str) -> InfluenceCleaner:
        """Return the cleaner that has chosen the samples."""
        cleaner = InfluenceCleaner(
            self.clf, n_remove=COUNT, at=at, action=action, random_state=self.seed
        )
        return cleaner.fit(self.X, self.y, self.split["X_val"], self.split["y_val"])


def outcome(action: str, data: Digits, at: str) -> dict[str, float]:
    """Return what an action finds and gains on one split."""
    X, y, flipped = data.X, data.y, data.flipped
    if action == "nothing":
        return {"accuracy": data.accuracy(data.fits(X, y))}
    if action == "exactly the flipped removed":
        models = data.fits(X[~flipped], y[~flipped])
        return {"flips": 1.0, "accuracy": data.accuracy(models)}
    if action == "exactly the flipped relabelled":
        accuracy = data.accuracy(data.fits(X, data.y_true))
        return {"flips": 1.0, "right": 1.0, "accuracy": accuracy}
    cleaner = data.cleaned(action, at)
    if action == "reweight":
        weights = cleaner.sample_weight_
        flips = flipped[weights.argsort(kind="stable")[:COUNT]].mean()
        return {"flips": flips, "accuracy": data.accuracy(data.fits(X, y, weights))}
    if action == "remove":
        flips, kept = flipped[cleaner.removed_indices_].mean(), cleaner.support_
        return {"flips": flips, "accuracy": data.accuracy(data.fits(X[kept], y[kept]))}
    mended = y.copy()
    if action == "relabel":
        changed = cleaner.relabelled_["index"].to_numpy()
        mended[changed] = cleaner.relabelled_["to"]
        models, labels = data.fits(X, mended), [mended]
    else:
        changed = cleaner.unlabelled_indices_
        mended[changed] = -1
        models = data.fits(X, mended)
        labels = [model.transduction_ for model in models]
    wrong = changed[flipped[changed]]
    right = np.mean([each[wrong] == data.y_true[wrong] for each in labels])
    return {
        "flips": flipped[changed].mean(),
        "right": float(right),
        "accuracy": data.accuracy(models),
    }


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
    done = set(rows.loc[rows["at"] == options.at, ["seed", "action"]].itertuples(False))
    for seed, action in (
        [] if options.report else product(range(options.seeds), ACTIONS)
    ):
        if (seed, action) in done:
            continue
        found = outcome(action, Digits(seed), options.at)
        row = {"seed": seed, "at": options.at, "action": action, **found}
        fresh = pd.DataFrame([row], columns=rows.columns)
        rows = fresh if rows.empty else pd.concat([rows, fresh], ignore_index=True)
        command = f"# python benchmarks/actions.py --seeds {options.seeds}\n"
        part = options.output.with_suffix(".part")
        part.write_text(command + rows.to_csv(index=False, float_format="%.6g"))
        part.replace(options.output)
        print(f"seed {seed}, {action}: done", file=sys.stderr)
    print(report(rows))
    if set(ACTIONS) <= set(rows.loc[rows["at"] == "path", "action"]):
        tables.write(documented(rows), "actions", options.output)


if __name__ == "__main__":
    main()
