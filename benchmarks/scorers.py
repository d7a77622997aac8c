"""All scorers on digits, Adult and two newsgroups, with and without wrong labels.

    python benchmarks/scorers.py

writes benchmarks/scorers.csv, a row for each problem, split, scorer and number of
removed samples, and the documentation's tables, benchmarks/results/scorers_*.csv.
Splits already in the file are skipped, so it can be interrupted; use another file
(`--output`) for other scorers or sizes. `--report` computes nothing: it prints means
and standard errors over the splits and writes the tables.
"""

import argparse
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tables
from skinfluence import SGDInfluenceClassifier
from skinfluence.cleaning import compare_scorers
from skinfluence.datasets import fetch_20newsgroups, fetch_adult, flip_labels
from skinfluence.exceptions import InfluenceReliabilityWarning
from skinfluence.scorers import (
    DataOOB,
    DataShapley,
    KNNShapley,
    Outlier,
    SGDInfluence,
)

OUTPUT = Path("benchmarks/scorers.csv")
FRACTIONS = (0, 0.05, 0.1, 0.2)
FLIPPED = 0.2

SCORERS: dict[str, Any] = {
    "influence, at='path'": SGDInfluence("path"),
    "influence, at='epochs'": SGDInfluence("epochs"),
    "influence, at='final'": SGDInfluence("final"),
    "mean_loss": "mean_loss",
    "loss": "loss",
    "area_under_margin": "area_under_margin",
    "margin": "margin",
    "forgetting": "forgetting",
    "confident_learning": "confident_learning",
    "data_oob": DataOOB(50),
    "knn_shapley": "knn_shapley",
    "knn_shapley, representation": KNNShapley(features="representation"),
    "IsolationForest": IsolationForest(),
    "IsolationForest, representation": Outlier(IsolationForest(), "representation"),
    "autoencoder": "autoencoder",
    "koh_liang": "koh_liang",
    "ekfac": "ekfac",
    "source": "source",
    "dvemb": "dvemb",
    "tracin": "tracin",
    "self_influence": "self_influence",
    "fisher_kernel": "fisher_kernel",
    "learned_weights": "learned_weights",
    "random": "random",
}
# Some 10,000 trainings for each split: runs only when named.
ON_REQUEST = {"data_shapley": DataShapley(20, tolerance=0.02)}
# The factors are of the covariance of thousands of words.
LEFT_OUT = {("newsgroups", "ekfac")}


def digits() -> tuple[SGDInfluenceClassifier, Any, Any]:
    X, y = load_digits(return_X_y=True)
    clf = SGDInfluenceClassifier(
        module__hidden_layer_sizes=(128,),
        module__activation="relu",
        lr=0.2,
        max_epochs=100,
        batch_size=50,
    )
    return clf, (X / 16).astype(np.float32), y


def adult() -> tuple[SGDInfluenceClassifier, Any, Any]:
    X, y = fetch_adult(subset="all", return_X_y=True)
    X = pd.get_dummies(X, dummy_na=False).to_numpy(dtype=np.float32)
    clf = SGDInfluenceClassifier(
        module__hidden_layer_sizes=(32,),
        module__activation="relu",
        max_epochs=30,
        batch_size=50,
    )
    return clf, StandardScaler().fit_transform(X), (y == ">50K").to_numpy(dtype=int)


def newsgroups() -> tuple[SGDInfluenceClassifier, Any, Any]:
    posts = fetch_20newsgroups(
        subset="all",
        categories=["comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware"],
        remove=("headers", "footers", "quotes"),
    )
    vectorizer = TfidfVectorizer(stop_words="english", min_df=0.001, max_df=0.2)
    X = vectorizer.fit_transform(posts.data).toarray().astype(np.float32)
    clf = SGDInfluenceClassifier("linear", lr=1.0, max_epochs=30, batch_size=50)
    return clf, X, posts.target


# name -> data, and how many samples to train on, validate on and test on at most
PROBLEMS: dict[str, tuple[Callable[[], Any], tuple[int, int, int]]] = {
    "digits": (cache(digits), (1000, 400, 397)),
    "adult": (cache(adult), (2000, 1000, 10000)),
    "newsgroups": (cache(newsgroups), (1000, 400, 500)),
}


def split(X: Any, y: Any, sizes: tuple[int, int, int], scale: float, seed: int) -> Any:
    """Return training, validation and test data of a random split."""
    sizes = tuple(max(20, round(scale * size)) for size in sizes)
    rows = np.arange(len(y))
    train, rest = train_test_split(
        rows, train_size=sizes[0], stratify=y, random_state=seed
    )
    val, rest = train_test_split(rest, train_size=sizes[1], random_state=seed)
    return [(X[part], y[part]) for part in (train, val, rest[: sizes[2]])]


def one_split(
    problem: str, noise: float, seed: int, scorers: list[str], scale: float
) -> pd.DataFrame:
    """Return the comparison on one split, with one training seed."""
    load, sizes = PROBLEMS[problem]
    clf, X, y = load()
    (X, y), (X_val, y_val), (X_test, y_test) = split(X, y, sizes, scale, seed)
    flips = None
    if noise:
        y, flips = flip_labels(y, noise, random_state=seed)
    known = {**SCORERS, **ON_REQUEST}
    scorers = [name for name in scorers if (problem, name) not in LEFT_OUT]
    table = compare_scorers(
        clf,
        X,
        y,
        X_val,
        y_val,
        {name: known[name] for name in scorers},
        X_test=X_test,
        y_test=y_test,
        truth=flips,
        n_remove=FRACTIONS,
        n_seeds=1,
        random_state=seed,
    )
    table = table.drop(columns=[name for name in table if name.endswith("_se")])
    table.insert(0, "removed", np.tile(FRACTIONS, len(scorers)))
    table.insert(0, "seed", seed)
    table.insert(0, "noise", noise)
    table.insert(0, "problem", problem)
    return table


def todo(options: argparse.Namespace, done: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Yield problem, noise and seed of each split that is not in the file."""
    known = set()
    if len(done):
        known = set(done[["problem", "noise", "seed"]].itertuples(index=False))
        known = {tuple(each) for each in known}
    for seed in range(options.seeds):
        for problem in options.problems:
            for noise in (FLIPPED, 0.0):
                if (problem, noise, seed) not in known:
                    yield problem, noise, seed


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return means and standard errors over the splits."""
    first = rows["removed"] == 0
    score = rows["score"].where(first)
    # Its own, since the file may hold rows of several versions.
    keys = ["problem", "noise", "seed", "scorer"]
    before = score.groupby([rows[key] for key in keys]).transform("first")
    rows = rows.assign(gain=100 * (rows["score"] - before))
    groups = ["problem", "noise", "scorer"]
    whole = rows[rows["removed"] == 0].groupby(groups, sort=False)
    wide = whole[["seconds", "average_precision"]].agg(["mean", "sem"])
    for fraction in FRACTIONS[1:]:
        part = rows[rows["removed"] == fraction].groupby(groups, sort=False)["gain"]
        for statistic in ("mean", "sem"):
            wide[f"gain, {fraction:.1%}", statistic] = part.agg(statistic)
    return wide


def documented(rows: pd.DataFrame, noise: float) -> pd.DataFrame:
    """Return the documentation's table for one fraction of flipped labels."""
    rows = rows[rows["noise"] == noise]
    means = summary(rows).droplevel("noise")
    scorers = means.index.unique("scorer")
    table = pd.DataFrame({"scorer": scorers})
    for problem in means.index.unique("problem"):
        part = means.loc[problem].reindex(scorers)
        name = problem.capitalize() if problem == "adult" else problem
        if noise:
            precision = part["average_precision", "mean"]
            table[f"{name}: AP"] = [
                tables.plus_minus(value, np.nan, ".2f") for value in precision
            ]
        for fraction in (0.05, 0.2):
            table[f"{name}: {100 * fraction:.0f} %"] = [
                tables.plus_minus(*gain, "+.1f")
                for gain in part[f"gain, {fraction:.1%}"].to_numpy()
            ]
    if noise:
        # The median: other programs slowed single calls.
        calls = rows[(rows["problem"] == "digits") & (rows["removed"] == 0)]
        seconds = calls.groupby("scorer")["seconds"].median().reindex(scorers)
        table["seconds"] = [f"{float(f'{value:.2g}'):g}" for value in seconds]
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = [*SCORERS, *ON_REQUEST]
    parser.add_argument("--seeds", type=int, default=5, help="number of splits")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=[*PROBLEMS])
    parser.add_argument("--scorers", nargs="+", choices=known, default=[*SCORERS])
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the numbers of samples"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # The comparison itself shows how reliable the influence is.
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    done = pd.DataFrame()
    if options.output.exists():
        done = pd.read_csv(options.output, comment="#")
    for problem, noise, seed in [] if options.report else todo(options, done):
        rows = one_split(problem, noise, seed, options.scorers, options.scale)
        done = pd.concat([done, rows], ignore_index=True)
        save(done, options)
        print(f"{problem}, {noise:.0%} flipped: split {seed} done", file=sys.stderr)
    print(summary(done).to_string(na_rep="-", float_format="{:.3g}".format))
    for noise, name in ((FLIPPED, "flipped"), (0.0, "clean")):
        tables.write(documented(done, noise), f"scorers_{name}", options.output)


def save(rows: pd.DataFrame, options: argparse.Namespace) -> None:
    """Write the file whole or not at all, with its command above."""
    command = f"# python benchmarks/scorers.py --seeds {options.seeds}"
    if options.problems != [*PROBLEMS]:
        command += f" --problems {shlex.join(options.problems)}"
    if options.scorers != [*SCORERS]:
        command += f" --scorers {shlex.join(options.scorers)}"
    if options.scale != 1:
        command += f" --scale {options.scale}"
    fresh = options.output.with_suffix(".part")
    text = rows.to_csv(index=False, float_format="%.6g")
    fresh.write_text(f"{command}\n{text}")
    fresh.replace(options.output)


if __name__ == "__main__":
    main()
