"""Activations of a small network: its accuracy, and how well the influence predicts.

Data with one label in five flipped (targets of regression: exchanged), and networks
with one hidden layer. With each activation: accuracy (R² for regression) on the
validation data, Spearman's correlation of the influence on their loss with the exact
removal of 40 samples, and the linear datamodeling score over 40 subsets that keep 90 %.
With ReLU also for its kinks smoothed on the way back.

    python benchmarks/activations.py

writes benchmarks/activations.csv, a row for each data set, seed, activation and width,
and the documentation's tables, benchmarks/results/activations.csv and smoothing.csv.
Runs already in the file are skipped. `--report` computes nothing: it prints means and
standard errors over the seeds and writes the tables. `--scores` computes the accuracy
alone, over ten seeds, and writes benchmarks/activation_scores.csv and its table.
"""

import argparse
import itertools
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import scale

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import queries, scorers, tables
from benchmarks.peers.problem import Fidelity, Problem, load
from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.datasets import fetch_mnist, flip_labels
from skinfluence.exceptions import InfluenceReliabilityWarning

WRONG = 0.2
ACTIVATIONS = ("relu", "gelu", "silu", "tanh")
SMOOTHINGS: dict[str, tuple[float | str, ...]] = {"relu": (0.0, 0.1, "auto")}
N_REMOVED, N_SUBSETS = 40, 40
OUTPUT = Path("benchmarks/activations.csv")
SCORES = Path("benchmarks/activation_scores.csv")
KEYS = ["data", "seed", "activation"]
MEASURES = {
    "score": "accuracy, R²",
    "Spearman": "Spearman, single samples",
    "LDS": "LDS",
}


def adult() -> tuple[Any, ...]:
    (X, y), n_train, _, options = queries.adult()
    return X, y, n_train, options


def newsgroups() -> tuple[Any, ...]:
    _, X, y = scorers.newsgroups()
    hidden = {"module__hidden_layer_sizes": (8,)}
    return X, y, 700, {**hidden, "max_epochs": 30, "lr": 0.3}


def mnist() -> tuple[Any, ...]:
    X, y = fetch_mnist(return_X_y=True)
    X, y = (X[:3000] / 255).astype(np.float32), y[:3000]
    return X, y, 2000, {"module__hidden_layer_sizes": (32,), "max_epochs": 20}


def diabetes() -> tuple[Any, ...]:
    X, y = load_diabetes(return_X_y=True)
    return scale(X), scale(y), 300, {"max_epochs": 50}


def friedman() -> tuple[Any, ...]:
    X, y = make_friedman1(1500, noise=0.5, random_state=0)
    return scale(X), scale(y), 1000, {"max_epochs": 50}


def fitted(data: Callable[[], Any], seed: int, **changed: Any) -> Problem:
    """Return the problem that is made of data, fitted."""
    X, y, n_train, options = data()
    X, X_val, y, y_val = train_test_split(
        X,
        y,
        train_size=n_train,
        test_size=min(1000, len(y) - n_train),
        random_state=seed,
    )
    continuous = y.dtype.kind == "f"
    wrong = exchanged if continuous else flip_labels
    y, is_wrong = wrong(y, WRONG, random_state=seed)
    kind = SGDInfluenceRegressor if continuous else SGDInfluenceClassifier
    options = {"batch_size": 50, "random_state": seed, **options, **changed}
    clf = kind("mlp", **options).fit(X, y)
    return Problem(data.__name__, clf, X, y, X_val, y_val, is_wrong)


def exchanged(
    y: np.ndarray, fraction: float, random_state: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return targets of which a fraction are those of other samples, and a mask."""
    chosen = np.random.default_rng(random_state).permutation(len(y))
    chosen = chosen[: round(fraction * len(y))]
    y, is_wrong = y.copy(), np.zeros(len(y), dtype=bool)
    y[chosen], is_wrong[chosen] = y[np.roll(chosen, 1)], True
    return y, is_wrong


DATA: dict[str, Callable[..., Problem]] = {
    "digits, easy": partial(load, "easy"),
    "digits, hard": partial(load, "hard"),
    "Adult": partial(fitted, adult),
    "20 Newsgroups": partial(fitted, newsgroups),
    "MNIST": partial(fitted, mnist),
    "diabetes (R²)": partial(fitted, diabetes),
    "Friedman 1 (R²)": partial(fitted, friedman),
}


def one_run(data: str, seed: int, activation: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each width."""
    problem = DATA[data](seed=seed, module__activation=activation)
    score = problem.clf.score(problem.X_val, problem.y_val)
    with tempfile.TemporaryDirectory() as folder:
        fidelity = Fidelity(problem, folder, N_REMOVED, N_SUBSETS, seed)
        for smoothing in SMOOTHINGS.get(activation, (0.0,)):
            scores = problem.clf.influence(
                problem.X_val, problem.y_val, smoothing=smoothing
            )
            yield {
                "data": data,
                "seed": seed,
                "activation": activation,
                "smoothing": str(smoothing),
                "score": score,
                **fidelity(scores),
            }


def only_score(data: str, seed: int, activation: str) -> Iterator[dict[str, Any]]:
    """Yield a row with the score alone."""
    problem = DATA[data](seed=seed, module__activation=activation, record=None)
    score = problem.clf.score(problem.X_val, problem.y_val)
    yield {"data": data, "seed": seed, "activation": activation, "score": score}


def todo(options: argparse.Namespace, done: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Return data, seed and activation of each run that is not in the file."""
    known = set(done[KEYS].itertuples(index=False, name=None)) if len(done) else set()
    every = itertools.product(options.data, range(options.seeds), options.activations)
    return [run for run in every if run not in known]


def summary(rows: pd.DataFrame, group: str) -> pd.DataFrame:
    """Return means and standard errors over the seeds, data in the order of DATA."""
    rows = rows.assign(data=pd.Categorical(rows["data"], [*DATA], ordered=True))
    groups = rows.groupby(["data", group], sort=False, observed=True)
    found = groups[[*MEASURES]].agg(["mean", "sem"])
    found["seed", "count"] = groups.size()
    return found.sort_index(level=0, kind="stable", sort_remaining=False)


def documented(rows: pd.DataFrame, group: str, measures: list[str]) -> pd.DataFrame:
    """Return a table of the documentation."""
    table = [
        {
            "data": data,
            group: value,
            **{MEASURES[k]: tables.plus_minus(*row[k], ".2f") for k in measures},
            "seeds": int(row["seed", "count"]),
        }
        for (data, value), row in summary(rows, group).iterrows()
    ]
    return tables.without_repeats(table, "data")


def parts(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each table: of activations, and of widths with ReLU."""
    return {
        "activation": rows[rows["smoothing"] == "0.0"],
        "smoothing": rows[rows["activation"] == "relu"],
    }


def write_tables(rows: pd.DataFrame, output: Path) -> None:
    """Write the documentation's tables."""
    part = parts(rows.replace({"smoothing": {"auto": '"auto"'}}))
    activations = documented(part["activation"], "activation", [*MEASURES])
    tables.write(activations, "activations", output)
    widths = documented(part["smoothing"], "smoothing", ["Spearman", "LDS"])
    tables.write(widths.replace({"smoothing": {"0.0": "0"}}), "smoothing", output)


def write_scores(rows: pd.DataFrame, output: Path) -> None:
    """Write the scores' table: those of ReLU, and what the others differ from them."""
    wide = rows.pivot(index=["data", "seed"], columns="activation", values="score")
    others = wide.drop(columns="relu").sub(wide["relu"], axis=0)
    found = pd.concat([wide[["relu"]], others], axis=1).groupby("data", sort=False)
    mean, error = found.mean(), found.sem()
    table = [
        {
            "data": data,
            **{
                name: tables.plus_minus(
                    mean.loc[data, name],
                    error.loc[data, name],
                    ".3f" if name == "relu" else "+.3f",
                )
                for name in ["relu", *others]
            },
        }
        for data in DATA
        if data in mean.index
    ]
    tables.write(pd.DataFrame(table), "activation_scores", output)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int)
    parser.add_argument(
        "--activations", nargs="+", choices=ACTIVATIONS, default=[*ACTIVATIONS]
    )
    parser.add_argument("--scores", action="store_true", help="nothing but accuracy")
    parser.add_argument("--data", nargs="+", choices=DATA, default=[*DATA])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    options.seeds = options.seeds or (10 if options.scores else 3)
    output = options.output or (SCORES if options.scores else OUTPUT)
    torch.set_num_threads(options.threads)
    # The table itself shows how reliable the influence is.
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    rows = pd.DataFrame()
    if output.exists():
        rows = pd.read_csv(output, dtype={"smoothing": str})
    compute = only_score if options.scores else one_run
    for run in [] if options.report else todo(options, rows):
        rows = pd.concat([rows, pd.DataFrame(compute(*run))], ignore_index=True)
        rows.to_csv(output, index=False, float_format="%.6g")
        print(*run, "done", file=sys.stderr)
    if options.scores:
        write_scores(rows, output)
        return
    write_tables(rows, output)
    for group, part in parts(rows).items():
        print(summary(part, group).to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
