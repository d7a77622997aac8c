"""What cleaning does to a rare class: its recall, and balanced accuracy.

A thousand samples, thirty of them of the minority, with right labels or with one in ten
wrong in both classes; five seeds. The cleaner removes 3 % of right labels and a tenth
of wrong ones, or chooses the number, by cross-influence along the path. Queries: the
expected error, in whose mean each sample counts the same, and that of the cleaner's
default.

    python benchmarks/imbalanced.py

writes benchmarks/imbalanced.csv, a row for each run, and the documentation's table.
"""

import argparse
import itertools
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import make_classification
from sklearn.metrics import balanced_accuracy_score, recall_score

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import tables
from skinfluence import InfluenceCleaner, SGDInfluenceClassifier

WRONG = {0.0: (0.03, "auto"), 0.1: (0.1, "auto")}
OLD: dict[str, Any] = {"query": "error", "max_class_fraction": None}
CLEANERS: dict[str, dict[str, Any]] = {
    "every sample the same": {**OLD, "scoring": "accuracy"},
    "default": {},
}
WEIGHTS = (None, "balanced")
GROUP = ["wrong labels", "class_weight", "n_remove", "query"]


def problem(seed: int, wrong: float) -> tuple[np.ndarray, ...]:
    """Return training data, test data, and which labels are wrong."""
    X, y = make_classification(
        *(3000, 10),
        n_informative=5,
        weights=[0.97],
        flip_y=0,
        class_sep=1.0,
        random_state=seed,
    )
    rng = np.random.RandomState(seed)
    few, many = (rng.permutation(np.flatnonzero(y == k)) for k in (1, 0))
    train = np.r_[few[:30], many[:970]]
    test = np.setdiff1d(np.arange(len(y)), train)
    is_wrong = rng.rand(len(train)) < wrong
    given = np.where(is_wrong, 1 - y[train], y[train])
    return X[train], given, X[test], y[test], is_wrong


def one_run(
    seed: int, wrong: float, weight: str | None, n_remove: Any, name: str
) -> dict[str, Any]:
    """Return what a cleaning does."""
    X, y, X_test, y_test, is_wrong = problem(seed, wrong)
    clf = SGDInfluenceClassifier(max_epochs=20, class_weight=weight, random_state=seed)
    options = {"cv": 5, "at": "path", "random_state": seed, **CLEANERS[name]}
    cleaner = InfluenceCleaner(clf, n_remove=n_remove, **options)
    row = {
        "seed": seed,
        "wrong labels": wrong,
        "class_weight": str(weight),
        "n_remove": str(n_remove),
        "query": name,
    }
    plain = clf.fit(X, y).predict(X_test)
    try:
        cleaned = cleaner.fit(X, y).predict(X_test)
    except ValueError:  # it would empty the class
        return row
    removed = cleaner.removed_indices_
    return {
        **row,
        "removed": len(removed),
        "minority": int((y[removed] == 1).sum()),
        "wrong": int(is_wrong[removed].sum()),
        "recall": recall_score(y_test, plain),
        "recall after": recall_score(y_test, cleaned),
        "accuracy": balanced_accuracy_score(y_test, plain),
        "accuracy after": balanced_accuracy_score(y_test, cleaned),
    }


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table: means and standard errors over the seeds."""
    gained = rows.assign(
        recall=rows["recall after"] - rows["recall"],
        accuracy=rows["accuracy after"] - rows["accuracy"],
    )
    table = []
    for key, part in gained.groupby(GROUP, sort=False):
        done = part.dropna()
        table.append(
            {
                **dict(zip(GROUP, key, strict=True)),
                "removed": f"{done['removed'].mean():.0f}",
                "labelled as minority": f"{done['minority'].mean():.0f}",
                "wrong": f"{done['wrong'].mean():.0f}",
                "recall": tables.plus_minus(
                    done["recall"].mean(), done["recall"].sem(), "+.2f"
                ),
                "balanced accuracy": tables.plus_minus(
                    done["accuracy"].mean(), done["accuracy"].sem(), "+.3f"
                ),
                "errors": len(part) - len(done),
                "seeds": len(part),
            }
        )
    return tables.without_repeats(table, "wrong labels")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    here = Path(__file__).with_suffix(".csv")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=here, help="a CSV file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    rows = []
    for wrong, numbers in WRONG.items():
        runs = itertools.product(WEIGHTS, numbers, CLEANERS, range(options.seeds))
        for weight, n_remove, name, seed in runs:
            rows.append(one_run(seed, wrong, weight, n_remove, name))
            print(rows[-1], file=sys.stderr)
    frame = pd.DataFrame(rows)
    frame.to_csv(options.output, index=False, float_format="%.4g")
    tables.write(documented(frame), "imbalanced", options.output)


if __name__ == "__main__":
    main()
