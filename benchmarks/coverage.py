"""How often the intervals of `check_influence` and `influence_interval` cover.

On digits (two settings), Adult and MNIST: the true changes of many single samples and
groups are computed once, and many checks are drawn from them. Counted is how often a
check's interval holds the figure over all of them. For fresh runs: five runs are drawn,
and the true changes in another one are counted that the intervals hold.

    python benchmarks/coverage.py

takes some 20 minutes on one core and writes benchmarks/coverage.csv, a row for each
problem, statistic, number of draws and level, and the documentation's table,
benchmarks/results/coverage.csv. Problems in the file already are skipped, so it can be
interrupted. Adult and MNIST are read from the folder that SKINFLUENCE_DATA names.
`--report` computes nothing.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import tables
from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import fetch_adult, fetch_mnist, flip_labels
from skinfluence.estimators import ScoresOverRuns
from skinfluence.estimators._questions import influence_interval, intervals
from skinfluence.estimators._questions.counterfactual import exact_changes
from skinfluence.estimators._questions.metasmoothness import metasmoothness
from skinfluence.estimators._questions.question import ask
from skinfluence.influence import SampleQueries

LEVELS = 0.9, 0.95
N_CHECKS = 1000
N_RUNS, N_VERIFIED = 5, 20

Data = tuple[Any, np.ndarray, Any, np.ndarray]


class Size(NamedTuple):
    """How many true changes are computed."""

    singles: int
    subsets: int
    halves: int
    runs: int
    fresh: int


SMALL = Size(singles=150, subsets=100, halves=40, runs=8, fresh=26)
LARGE = Size(singles=300, subsets=200, halves=60, runs=8, fresh=30)


class CNN(nn.Module):
    """Two convolutions and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 25, 10),
        )

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.layers(X)


def _digits() -> Data:
    X, y = load_digits(return_X_y=True)
    X, X_val, y, y_val = train_test_split(
        (X / 16).astype(np.float32), y, train_size=1000, test_size=400, random_state=0
    )
    return X, flip_labels(y, 0.2, random_state=0)[0], X_val, y_val


def _adult() -> Data:
    X, y = fetch_adult(return_X_y=True)
    X, y = pd.get_dummies(X).to_numpy(np.float32), (y == ">50K").to_numpy(np.int64)
    X, X_val, y, y_val = train_test_split(
        X, y, train_size=2000, test_size=1000, random_state=0
    )
    scaler = StandardScaler().fit(X)
    return scaler.transform(X), y, scaler.transform(X_val), y_val


def _mnist() -> Data:
    X, y = fetch_mnist(return_X_y=True)
    X = (X / 255).astype(np.float32).reshape(-1, 1, 28, 28)
    X, X_val, y, y_val = train_test_split(
        X, y.astype(np.int64), train_size=500, test_size=500, random_state=0
    )
    return X, y, X_val, y_val


def _mlp(activation: str, width: int, epochs: int, lr: float) -> dict[str, Any]:
    return {
        "module": "mlp",
        "module__activation": activation,
        "module__hidden_layer_sizes": (width,),
        "max_epochs": epochs,
        "lr": lr,
    }


PROBLEMS: dict[str, tuple[Callable[[], Data], dict[str, Any], Size]] = {
    "digits, easy, ReLU": (_digits, _mlp("relu", 32, 20, 0.1), LARGE),
    "digits, hard, ReLU": (_digits, _mlp("relu", 128, 100, 0.2), SMALL),
    "Adult, ReLU": (_adult, _mlp("relu", 32, 30, 0.05), LARGE),
    "Adult, SiLU": (_adult, _mlp("silu", 32, 30, 0.05), LARGE),
    "MNIST, CNN, ReLU": (_mnist, {"module": CNN, "max_epochs": 10, "lr": 0.1}, SMALL),
}


def run(name: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each statistic, number of draws and level."""
    load, options, size = PROBLEMS[name]
    X, y, X_val, y_val = load()
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(y))
    fresh = rows[: size.fresh]
    scores, exact = [], []
    for seed in range(size.runs):
        clf = SGDInfluenceClassifier(**options, batch_size=50, random_state=seed)
        clf.fit(X, y)
        scores.append(clf.influence(X_val, y_val))
        if seed == 0:
            for row in _of_one_run(clf, X_val, y_val, scores[0], size, rng):
                yield {"problem": name, **row}
        exact.append(clf.counterfactual_influence(X_val, y_val, fresh))
    for row in _of_fresh_runs(np.array(scores), np.array(exact), fresh, rng):
        yield {"problem": name, **row}


def _of_one_run(
    clf: Any, X_val: Any, y_val: Any, scores: np.ndarray, size: Size, rng: Any
) -> Iterator[dict[str, Any]]:
    rows = rng.permutation(len(scores))[: size.singles]
    estimated = scores[rows]
    exact = clf.counterfactual_influence(X_val, y_val, rows)
    errors = np.abs(estimated - exact) / np.abs(exact)

    def drawn(n: int) -> np.ndarray:
        found: np.ndarray = rng.permutation(len(rows))[:n]
        return found

    tau = intervals.kendall(estimated, exact, 0.5, len(rows))[0]
    for n in (20, 50):
        yield from _covered(
            "rank correlation",
            tau,
            n,
            lambda d, level: intervals.kendall(
                estimated[d], exact[d], level, len(rows)
            )[1],
            drawn,
        )
        yield from _covered(
            "median error",
            float(np.median(errors)),
            n,
            lambda d, level: intervals.median(errors[d], level, len(rows))[1],
            drawn,
        )
    yield from _of_groups(clf, X_val, y_val, scores, size, rng)


def _of_groups(
    clf: Any, X_val: Any, y_val: Any, scores: np.ndarray, size: Size, rng: Any
) -> Iterator[dict[str, Any]]:
    n_removed = len(scores) // 10
    subsets = [rng.permutation(len(scores))[:n_removed] for _ in range(size.subsets)]
    sums = np.array([scores[subset].sum() for subset in subsets])
    weights = np.ones((size.subsets + size.halves, len(scores)))
    for row, subset in enumerate(subsets):
        weights[row, subset] = 0.0
        if row < size.halves:
            weights[size.subsets + row, subset] = 0.5
    changes = np.stack(_single_queries(clf, X_val, y_val, weights))
    exact = changes[: size.subsets].mean(axis=1)
    smoothness = metasmoothness(changes[size.subsets :], changes[: size.halves])
    # Independent draws, as a check makes them: those computed are the population.
    for n in (20, 50):
        yield from _covered(
            "LDS",
            intervals.spearman(sums, exact, 0.5)[0],
            n,
            lambda d, level: intervals.spearman(sums[d], exact[d], level)[1],
            lambda n: rng.integers(0, size.subsets, n),
        )
    yield from _covered(
        "metasmoothness",
        float(smoothness.mean()),
        10,
        lambda d, level: intervals.mean(smoothness[d], level)[1],
        lambda n: rng.integers(0, size.halves, n),
    )


def _single_queries(clf: Any, X_val: Any, y_val: Any, weights: np.ndarray) -> Any:
    """Return the change of each validation sample's loss in each run."""

    question = ask(clf, X_val, y_val, None, "loss", "final", None)
    return exact_changes(clf, question, torch.from_numpy(weights), kind=SampleQueries)


def _covered(
    statistic: str,
    truth: float,
    n: int,
    interval_of: Callable[[np.ndarray, float], tuple[float, float]],
    drawn: Callable[[int], np.ndarray],
) -> Iterator[dict[str, Any]]:
    checks = [drawn(n) for _ in range(N_CHECKS)]
    for level in LEVELS:
        ends = np.array([interval_of(check, level) for check in checks])
        # A truth of 1 is an end of the interval, up to rounding.
        holds = (ends[:, 0] <= truth + 1e-9) & (truth - 1e-9 <= ends[:, 1])
        yield {
            "statistic": statistic,
            "n": n,
            "level": level,
            "truth": truth,
            "covered": holds.mean(),
        }


def _of_fresh_runs(
    scores: np.ndarray, exact: np.ndarray, rows: np.ndarray, rng: Any
) -> Iterator[dict[str, Any]]:
    held: dict[float, list[float]] = {level: [] for level in LEVELS}
    for _ in range(N_CHECKS // 10):
        runs = rng.permutation(len(scores))[: N_RUNS + 1]
        # Each verifies samples of its own.
        verified = np.full((N_RUNS, scores.shape[1]), np.nan)
        for run, changes in zip(runs[:-1], verified, strict=True):
            some = rng.permutation(len(rows))[:N_VERIFIED]
            changes[rows[some]] = exact[run, some]
        estimates = ScoresOverRuns.of(scores[runs[:-1]])
        for level in LEVELS:
            found = influence_interval.calibrated(estimates, verified, level, 1.0)
            low, high = found.interval[rows].T
            changes = exact[runs[-1]]
            held[level].append(((low <= changes) & (changes <= high)).mean())
    for level in LEVELS:
        yield {
            "statistic": "fresh runs",
            "n": N_RUNS * N_VERIFIED,
            "level": level,
            "truth": np.nan,
            "covered": np.mean(held[level]),
        }


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table."""
    rows = rows.assign(covered=[f"{100 * share:.0f} %" for share in rows["covered"]])
    rows["column"] = [
        f"{s}, {n}" for s, n in zip(rows["statistic"], rows["n"], strict=True)
    ]
    table = rows.groupby(["problem", "column"], sort=False)["covered"].agg(" / ".join)
    wide = table.unstack("column")
    return wide[list(dict.fromkeys(rows["column"]))].reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/coverage.csv"))
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    rows = pd.read_csv(options.output) if options.output.exists() else pd.DataFrame()
    for name in [] if options.report else options.problems:
        if len(rows) and (rows["problem"] == name).any():
            continue
        rows = pd.concat([rows, pd.DataFrame(run(name))], ignore_index=True)
        rows.to_csv(options.output, index=False, float_format="%.6g")
        print(f"{name} done", file=sys.stderr)
    tables.write(documented(rows), "coverage", options.output)
    print(documented(rows).to_string())


if __name__ == "__main__":
    main()
