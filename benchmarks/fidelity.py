"""How well scores of single queries predict fresh trainings on other data.

Half of the training samples are drawn many times, and a network with initial weights
and batches of its own is trained on each half. For each of 50 queries (the loss of one
test image) the linear datamodeling score (LDS) is the rank correlation, over the
halves, of that loss with the sum of the scores of the half's samples. The second figure
removes, for some queries, the most helpful samples, trains afresh, and compares the
query's loss with that after the removal of as many at random. All methods answer for
the same truth, and score the same runs: one, or the mean over several fresh ones.

- `logistic` and `mlp`: the settings of dattri's benchmark (the first 5,000 and 500
  images of MNIST; logistic regression, and 784-128-64-10 with ReLU and dropout).
- `unconverged`: as in the paper on SOURCE, three epochs with 30 % random labels.
- `smooth`: `mlp` with a smooth activation, GELU.

    python benchmarks/fidelity.py

adds to benchmarks/fidelity.csv the rows that it has not, one for each setting and
method, and writes the documentation's tables in benchmarks/results. It takes hours, and
stores each row as it comes; `--runs 1` leaves out the means over several runs, and
`--report` computes nothing and writes the tables. Libraries that are not installed are
skipped, with a message. Needs MNIST.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax
from scipy.stats import norm, rankdata
from sklearn.base import clone

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import tables, timing
from benchmarks.peers.measure import PEERS, methods
from benchmarks.peers.problem import Method, Missing, Problem
from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import fetch_mnist

N_TRAIN, N_QUERIES = 5000, 50
N_HALVES = 100
# Of the removal: how many queries, what part of the samples, and how many retrainings.
N_REMOVALS, REMOVED, N_RETRAININGS = 10, 0.05, 2
KEYS = ["setting", "method", "runs"]
# It computes what this library does, but in one way back for each query: one run, and
# none of a long training.
_ONE_BY_ONE = ("bergson MAGIC",)
_FEW_EPOCHS = 20
_LEFT_OUT = (
    "skinfluence, at='path'",
    "skinfluence, at='final', compile=True",
)


@dataclass(frozen=True)
class Setting:
    """A network and its training, and the share of labels replaced by random ones."""

    described: str
    module: str
    max_epochs: int
    random_labels: float = 0.0
    options: tuple[tuple[str, Any], ...] = ()

    def classifier(self, seed: int) -> SGDInfluenceClassifier:
        return SGDInfluenceClassifier(
            self.module,
            max_epochs=self.max_epochs,
            lr=0.01,
            batch_size=64,
            optimizer__momentum=0.9,
            random_state=seed,
            **dict(self.options),
        )


_MLP = Setting(
    "784-128-64-10, ReLU, dropout 0.1, 50 epochs",
    "mlp",
    50,
    options=(
        ("module__hidden_layer_sizes", (128, 64)),
        ("module__activation", "relu"),
        ("module__dropout", 0.1),
    ),
)
_SMOOTH = (*_MLP.options, ("module__activation", "gelu"))
SETTINGS = {
    "logistic": Setting("logistic regression, 20 epochs", "linear", 20),
    "mlp": _MLP,
    "smooth": replace(
        _MLP, described=_MLP.described.replace("ReLU", "GELU"), options=_SMOOTH
    ),
    "unconverged": replace(
        _MLP,
        described="784-128-64-10, ReLU, 3 epochs, 30 % random labels",
        max_epochs=3,
        random_labels=0.3,
        options=_MLP.options[:2],
    ),
}


@cache
def images(split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first images of a split of MNIST, and their digits."""
    X, y = fetch_mnist(subset=split, return_X_y=True)
    return (X[:count] / 255).astype(np.float32), y[:count]


def load(setting: str, seed: int = 0) -> Problem:
    """Return the problem, fitted; the seed is that of the training alone."""
    X, y = images("train", N_TRAIN)
    X_val, y_val = images("test", N_QUERIES)
    rng = np.random.default_rng(0)
    replaced = rng.random(len(y)) < SETTINGS[setting].random_labels
    y = np.where(replaced, rng.integers(10, size=len(y)), y)
    clf = SETTINGS[setting].classifier(seed).fit(X, y)
    return Problem(setting, clf, X, y, X_val, y_val, replaced)


class Truth:
    """Fresh trainings on halves of the samples, and without some of them."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.rng = np.random.default_rng(1)
        n_train = len(problem.y)
        self.halves = np.array(
            [self.rng.permutation(n_train) < n_train // 2 for _ in range(N_HALVES)]
        )
        # Ranks over the halves, one column for each query.
        losses = [self.losses(half, 1000 + i) for i, half in enumerate(self.halves)]
        self.ranks = rankdata(losses, axis=0)
        self.random = np.mean([self._without_random(i) for i in range(10)], axis=0)

    def losses(self, kept: np.ndarray, seed: int) -> np.ndarray:
        """Return the loss of each query after a fresh training on these samples."""
        problem = self.problem
        clf = clone(problem.clf).set_params(record=None, random_state=seed)
        clf.fit(problem.X[kept], problem.y[kept])
        outputs = clf.forward(problem.X_val).numpy()
        found = log_softmax(outputs, axis=1)
        return -found[np.arange(len(problem.y_val)), problem.y_val]

    def lds(self, scores: np.ndarray) -> tuple[float, float]:
        """Return the mean LDS over the queries, and its standard error.

        `scores` has shape (n_queries, n_train): negative where a sample raises the
        query's loss, so that the loss of a half *falls* with its helpful samples. The
        error is that of the halves, by the jackknife, and that of the queries.
        """
        predicted = rankdata(-(self.halves @ scores.T), axis=0)
        each = _correlations(predicted, self.ranks)
        n = len(self.halves)
        without = [
            _correlations(
                np.delete(predicted, i, axis=0), np.delete(self.ranks, i, axis=0)
            ).mean()
            for i in range(n)
        ]
        of_halves = (n - 1) * np.var(without)
        of_queries = np.var(each, ddof=1) / len(each)
        return float(each.mean()), float(np.sqrt(of_halves + of_queries))

    def removal(self, scores: np.ndarray) -> tuple[float, float]:
        """Return how much more a query's loss rises than by removal at random.

        Mean and standard error over the queries, in nats.
        """
        found = []
        for query in range(N_REMOVALS):
            kept = rankdata(-scores[query], "ordinal") > REMOVED * scores.shape[1]
            losses = [self.losses(kept, 2000 + i)[query] for i in range(N_RETRAININGS)]
            found.append(np.mean(losses) - self.random[query])
        return float(np.mean(found)), float(np.std(found, ddof=1) / len(found) ** 0.5)

    def _without_random(self, seed: int) -> np.ndarray:
        n_train = len(self.problem.y)
        kept = self.rng.permutation(n_train) >= REMOVED * n_train
        return self.losses(kept, 2000 + seed)


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the correlation of each column of one with the other's."""
    a, b = a - a.mean(0), b - b.mean(0)
    scale = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return np.divide((a * b).sum(0), scale, out=np.zeros_like(scale), where=scale > 0)


def smoothed() -> Method:
    """Return this library with its kinks smoothed."""

    def each(problem: Problem, clf: Any) -> np.ndarray:
        return clf.influence(
            problem.X_val, problem.y_val, smoothing="auto", aggregate=None
        ).T

    def fit(problem: Problem) -> Any:
        return clone(problem.clf).fit(problem.X, problem.y)

    return Method("skinfluence, smoothing='auto'", fit, each, each)


def chosen(problem: Problem, peers: list[str]) -> Iterator[Method]:
    """Yield the methods that score single queries."""
    setting = SETTINGS[problem.setting]
    for method in methods(problem, peers):
        if method.each is None or method.name in _LEFT_OUT:
            continue
        if method.name in _ONE_BY_ONE and setting.max_epochs > _FEW_EPOCHS:
            print(f"{method.name} left out: the run is long", file=sys.stderr)
            continue
        yield method
    if "ours" in peers and dict(setting.options).get("module__activation") == "relu":
        yield smoothed()


def measured(
    problems: list[Problem], truth: Truth, method: Method
) -> Iterator[dict[str, Any]]:
    """Yield a row for one run and, of several, one for the mean over all of them."""
    found = []
    each: Callable[[Problem, Any], Any] = method.each  # type: ignore[assignment]
    for problem in problems:
        found.append(np.asarray(each(problem, method.fit(problem)), np.float64))
        if len(found) not in (1, len(problems)):
            continue
        scores = np.mean(found, axis=0)
        lds, error = truth.lds(scores)
        loss, loss_error = truth.removal(scores)
        yield {
            "setting": problem.setting,
            "method": method.name,
            "runs": len(found),
            "LDS": lds,
            "LDS error": error,
            "loss": loss,
            "loss error": loss_error,
        }


def run(
    settings: list[str], peers: list[str], n_runs: int, done: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the settings that are not among those that are done."""
    known = set(done[KEYS].itertuples(index=False, name=None)) if len(done) else set()
    for setting in settings:
        problems = [load(setting, seed) for seed in range(n_runs)]
        truth = None
        for method in chosen(problems[0], peers):
            asked = problems[:1] if method.name in _ONE_BY_ONE else problems
            if {(setting, method.name, n) for n in (1, len(asked))} <= known:
                continue
            truth = truth or Truth(problems[0])
            try:
                yield from measured(asked, truth, method)
            except (Missing, RuntimeError, ValueError) as error:
                print(f"{method.name} skipped: {error}", file=sys.stderr)


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table: 95 % intervals."""
    width = norm.ppf(0.975)
    return pd.DataFrame(
        {
            "method": rows["method"],
            "runs": rows["runs"],
            "LDS": [
                tables.plus_minus(mean, width * error, ".2f")
                for mean, error in zip(rows["LDS"], rows["LDS error"], strict=True)
            ],
            "rise of the loss": [
                tables.plus_minus(mean, width * error, "+.3f")
                for mean, error in zip(rows["loss"], rows["loss error"], strict=True)
            ],
        }
    )


def main() -> None:
    here = Path(__file__).with_suffix(".csv")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PEERS, default=[*PEERS])
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=[*SETTINGS])
    parser.add_argument("--runs", type=int, default=3, help="fresh runs of a method")
    parser.add_argument("--output", type=Path, default=here, help="a CSV file")
    parser.add_argument("--report", action="store_true", help="compute nothing")
    options = parser.parse_args()
    rows = pd.read_csv(options.output) if options.output.exists() else pd.DataFrame()
    if not options.report:
        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        for row in run(options.settings, options.only, options.runs, rows):
            print(row, file=sys.stderr)
            rows = pd.concat([rows, pd.DataFrame([row])], ignore_index=True)
            rows = rows.drop_duplicates(KEYS, keep="last")
            tables.store(rows, options.output, "%.4g")
        print(timing.environment())
    for setting, group in rows.groupby("setting", sort=False):
        table = documented(group)
        print(f"\n{SETTINGS[str(setting)].described}\n{table.to_string(index=False)}")
        tables.write(table, f"fidelity_{setting}", options.output)


if __name__ == "__main__":
    main()
