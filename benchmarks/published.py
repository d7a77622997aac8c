"""Finding bad rows in the settings of two published benchmarks, OpenDataVal and AQuA.

    python benchmarks/published.py

writes benchmarks/published.csv, a row for each setting, seed, ranking and rule, and the
documentation's tables, benchmarks/results/published_*.csv. A rule says which rows a
ranking calls bad, without knowing how many there are. Rows already in the file are
skipped, so it can be interrupted; methods that are not installed are left out.
`--report` computes nothing: it prints means and standard errors over the seeds and
writes the tables.

The settings follow the repositories as of February 2025 (OpenDataVal) and September
2023 (AQuA); the splits and the random numbers are our own.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import truncnorm
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_diabetes
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import scorers, tables
from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.cleaning import InfluenceCleaner
from skinfluence.datasets import fetch_adult, flip_labels, flip_labels_by_class
from skinfluence.exceptions import InfluenceReliabilityWarning
from skinfluence.scorers import DataOOB, KNNShapley, SGDInfluence, get_scorer

OUTPUT = Path("benchmarks/published.csv")
PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
KEYS = ["setting", "seed", "ranking", "rule"]


@dataclass(frozen=True)
class Case:
    """Noisy samples to search, noisy ones to validate on, and the truth.

    `plain` is the model that the setting names, for methods that need no recorded run.
    """

    net: Any
    plain: BaseEstimator
    X: np.ndarray
    y: np.ndarray
    is_bad: np.ndarray
    seed: int
    X_val: np.ndarray | None = None
    y_val: np.ndarray | None = None

    @cached_property
    def fitted(self) -> Any:
        """The net, trained and recorded once for all that look at its run."""
        return clone(self.net).fit(self.X, self.y)

    @property
    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        """The samples of both parts: whoever validates across folds needs no split."""
        if self.X_val is None or self.y_val is None:
            return self.X, self.y
        return np.concatenate([self.X, self.X_val]), np.concatenate(
            [self.y, self.y_val]
        )


class Found(NamedTuple):
    """A score for each sample, lowest for the worst, and what a method calls bad.

    A zero has a meaning if samples below it are bad by the score's own definition.
    """

    scores: np.ndarray
    own: np.ndarray | None = None
    has_zero: bool = False


@cache
def opendataval_adult() -> tuple[np.ndarray, np.ndarray]:
    _, X, y = scorers.adult()
    return X, y


def wrong_labels(seed: int, *, tuned: bool = False) -> Case:
    """OpenDataVal: a fifth of all labels are wrong, of the validation samples too.

    Its logistic regression has scikit-learn's penalty, C=1, which lets 105 features fit
    wrong labels; `tuned`, the penalty that is best on held-out, noisy labels.
    """
    X, y = opendataval_adult()
    rows = np.random.RandomState(seed).permutation(len(y))[:1100]
    train, val = rows[:1000], rows[1000:]
    y_train, is_bad = flip_labels(y[train], 0.2, random_state=seed)
    y_val, _ = flip_labels(y[val], 0.2, random_state=1000 + seed)
    plain = LogisticRegression(max_iter=1000)
    if tuned:
        search = GridSearchCV(plain, {"C": PENALTIES}, scoring="neg_log_loss")
        plain = clone(search.fit(X[train], y_train).best_estimator_)
    net = SGDInfluenceClassifier(
        "linear",
        lr=0.03,  # 0.1 is too much for 105 features, some of them rare
        max_epochs=10,
        batch_size=32,
        optimizer__weight_decay=1 / (plain.C * len(train)),
        random_state=seed,
    )
    return Case(net, plain, X[train], y_train, is_bad, seed, X[val], y_val)


def noisy_features(seed: int) -> Case:
    """OpenDataVal: a tenth of the rows get standard normal noise in all features."""
    X, y = load_diabetes(return_X_y=True)
    rng = np.random.RandomState(seed)
    rows = rng.permutation(len(y))[:150]
    X, y = X[rows], y[rows]
    is_bad = np.zeros(len(rows), dtype=bool)
    for part in (np.arange(100), np.arange(100, 150)):
        is_bad[rng.choice(part, len(part) // 10, replace=False)] = True
    X[is_bad] += rng.standard_normal((is_bad.sum(), X.shape[1]))
    X = StandardScaler().fit(X[:100]).transform(X).astype(np.float32)
    y = ((y - y[:100].mean()) / y[:100].std()).astype(np.float32)
    net = SGDInfluenceRegressor(
        "linear", max_epochs=50, batch_size=20, random_state=seed
    )
    plain = LinearRegression()
    return Case(net, plain, X[:100], y[:100], is_bad[:100], seed, X[100:], y[100:])


@cache
def aqua_adult() -> tuple[np.ndarray, np.ndarray]:
    """Return Adult as AQuA reads it, categories as numbers."""
    X, y = fetch_adult(subset="train", return_X_y=True)
    named = X.select_dtypes(exclude="number").columns
    texts = X[named].astype(object).fillna("?")
    X[named] = OrdinalEncoder().fit_transform(texts)
    scaled = StandardScaler().fit_transform(X.to_numpy(dtype=np.float64))
    return scaled.astype(np.float32), (y == ">50K").to_numpy(dtype=int)


def aqua_net(seed: int) -> SGDInfluenceClassifier:
    return SGDInfluenceClassifier(
        module__hidden_layer_sizes=(7, 3),
        module__activation="relu",
        optimizer=torch.optim.Adam,
        lr=0.001,
        batch_size=64,
        max_epochs=15,
        random_state=seed,
    )


def uniform(y: np.ndarray, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return flip_labels_by_class(y, "pair", rate=rate, random_state=seed)


def asymmetric(y: np.ndarray, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return flip_labels(y, rate, random_state=seed)


def by_instance(y: np.ndarray, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Flip each label at its own rate, which with two classes depends on nothing."""
    rng = np.random.RandomState(seed)
    rates = truncnorm.rvs(0, 1, loc=rate, scale=0.1, size=len(y), random_state=rng)
    is_bad = rng.random_sample(len(y)) < rates
    return np.where(is_bad, 1 - y, y), is_bad


def by_confusion(
    y: np.ndarray, rate: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Flip by the confusions of the network on right labels, the way AQuA reads them.

    Its matrix has a row for each true class, and it takes the column.
    """
    X, _ = aqua_adult()
    net = aqua_net(seed).set_params(record=None).fit(X, y)
    columns = confusion_matrix(y, net.predict(X), normalize="true").T
    transition = columns / columns.sum(axis=1, keepdims=True)
    return flip_labels_by_class(y, transition, random_state=seed)


def aqua(noise: Callable[..., Any], rate: float, seed: int) -> Case:
    """AQuA: the network itself searches the samples that it is trained on."""
    X, y = aqua_adult()
    y, is_bad = noise(y, rate, seed)
    net = aqua_net(seed)
    return Case(net, clone(net).set_params(record=None), X, y, is_bad, seed)


SETTINGS: dict[str, Callable[[int], Case]] = {
    "OpenDataVal, labels": wrong_labels,
    "OpenDataVal, labels, tuned": partial(wrong_labels, tuned=True),
    "OpenDataVal, features": noisy_features,
    "AQuA, uniform .1": partial(aqua, uniform, 0.1),
    "AQuA, uniform .4": partial(aqua, uniform, 0.4),
    "AQuA, asymmetric .1": partial(aqua, asymmetric, 0.1),
    "AQuA, asymmetric .4": partial(aqua, asymmetric, 0.4),
    "AQuA, instance .1": partial(aqua, by_instance, 0.1),
    "AQuA, instance .4": partial(aqua, by_instance, 0.4),
    "AQuA, class": partial(aqua, by_confusion, 0.0),
}


def across_folds(case: Case, cv: int = 5, **options: Any) -> Found:
    """Rank by the influence on held-out samples, whose labels are as noisy."""
    options = {"at": "path", **options}
    X, y = case.pooled
    cleaner = InfluenceCleaner(
        case.net, n_remove=0, cv=cv, random_state=case.seed, **options
    )
    cleaner.fit_resample(X, y)
    scores = cleaner.influence_[: len(case.y)]
    return Found(scores, has_zero=cleaner.scorer == "influence")


def label_probability(case: Case) -> Found:
    """Rank by what a cleaner with its defaults thinks of the labels; even is zero."""
    cleaner = InfluenceCleaner(case.net, n_remove=0, random_state=case.seed)
    cleaner.fit_resample(*case.pooled)
    scores = cleaner.label_probability_[: len(case.y)] - 0.5
    return Found(scores, has_zero=True)


def on_validation(case: Case, query: str) -> Found:
    """Rank by the influence on the setting's own validation samples."""
    return _scored(case, SGDInfluence("path", query=query), has_zero=True)


def of_run(case: Case, scorer: str, has_zero: bool = False) -> Found:
    return _scored(case, get_scorer(scorer), has_zero)


def of_plain(case: Case, scorer: Any) -> Found:
    scores = scorer(case.plain, case.X, case.y, case.X_val, case.y_val)
    return Found(scores)


def out_of_bag(case: Case, **options: Any) -> Found:
    return of_plain(case, DataOOB(100, random_state=case.seed, **options))


def outliers(case: Case) -> Found:
    forest = IsolationForest(random_state=case.seed).fit(case.X)
    return Found(forest.score_samples(case.X), own=forest.predict(case.X) < 0)


def cleanlab(case: Case) -> Found:
    from cleanlab.classification import CleanLearning

    issues = CleanLearning(clone(case.plain), seed=case.seed).find_label_issues(
        case.X, case.y
    )
    own = issues["is_label_issue"].to_numpy()
    return Found(issues["label_quality"].to_numpy(), own=own)


def random(case: Case) -> Found:
    # Not the seed alone, which has drawn the noise.
    rng = np.random.RandomState([case.seed, 1])
    return Found(rng.random_sample(len(case.y)))


def nothing(case: Case) -> Found:
    return Found(np.zeros(len(case.y)), own=np.zeros(len(case.y), dtype=bool))


def _scored(case: Case, scorer: Any, has_zero: bool = False) -> Found:
    scores = scorer(case.fitted, case.X, case.y, case.X_val, case.y_val)
    return Found(np.asarray(scores), has_zero=has_zero)


Ranking = Callable[[Case], Found]
_RUN: dict[str, Ranking] = {
    "probability_margin": partial(of_run, scorer="probability_margin", has_zero=True),
    "area_under_margin": partial(of_run, scorer="area_under_margin", has_zero=True),
    "mean_loss": partial(of_run, scorer="mean_loss"),
    "loss": partial(of_run, scorer="loss"),
}
_REST: dict[str, Ranking] = {"random": random, "nothing": nothing}
LABELS: dict[str, Ranking] = {
    "label probability": label_probability,
    "influence, five folds": across_folds,
    "influence, validation": partial(on_validation, query="error"),
    **_RUN,
    "data_oob, loss": partial(out_of_bag, measure="loss"),
    "data_oob": out_of_bag,
    "knn_shapley": lambda case: of_plain(case, KNNShapley(100)),
    "cleanlab": cleanlab,
    **_REST,
}
FEATURES: dict[str, Ranking] = {
    "influence, five folds": across_folds,
    "influence, validation": partial(on_validation, query="loss"),
    "self_influence": partial(of_run, scorer="self_influence"),
    "cook_distance": partial(of_run, scorer="cook_distance"),
    "mean_loss": _RUN["mean_loss"],
    "data_oob": LABELS["data_oob"],
    "isolation forest": outliers,
    **_REST,
}
NETWORK: dict[str, Ranking] = {
    "label probability": label_probability,
    "influence, two folds": partial(across_folds, cv=2),
    **_RUN,
    "cleanlab": cleanlab,
    **_REST,
}


def rankings(setting: str) -> dict[str, Ranking]:
    """Return the rankings that are tried in a setting."""
    if setting.startswith("AQuA"):
        return NETWORK
    return LABELS if "labels" in setting else FEATURES


def lower_cluster(scores: np.ndarray) -> np.ndarray:
    """Return which scores are in the lower one of two clusters, the best by 2-means."""
    order = np.argsort(scores, kind="stable")
    centred = scores[order] - scores.mean()
    # The spread between clusters of k and n - k, up to a factor.
    k = np.arange(1, len(scores))
    between = np.cumsum(centred)[:-1] ** 2 / (k * (len(scores) - k))
    lower = np.zeros(len(scores), dtype=bool)
    lower[order[: between.argmax() + 1]] = True
    return lower


def rules(found: Found) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the rules that a ranking has, with the rows that they call bad."""
    if np.ptp(found.scores):
        yield "two clusters", lower_cluster(found.scores)
    if found.has_zero:
        yield "below zero", found.scores < 0
    if found.own is not None:
        yield "its own", found.own


def measured(case: Case, ranking: Ranking) -> Iterator[dict[str, Any]]:
    """Yield what a ranking finds by each of its rules."""
    began = time.perf_counter()
    found = ranking(case)
    seconds = time.perf_counter() - began
    for rule, called in rules(found):
        yield {
            "rule": rule,
            "F1": f1_score(case.is_bad, called),
            # AQuA's: the mean of both classes' F1, by their sizes.
            "weighted F1": f1_score(case.is_bad, called, average="weighted"),
            "AP": average_precision_score(case.is_bad, -found.scores),
            "share": called.mean(),
            "bad": case.is_bad.mean(),
            "seconds": seconds,
        }


def todo(options: argparse.Namespace, done: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Yield settings and seeds, with the rankings that are not in the file."""
    known = set(done[KEYS[:3]].itertuples(index=False, name=None)) if len(done) else ()
    for seed in range(options.seeds):
        for setting in options.settings:
            names = [
                name for name in rankings(setting) if (setting, seed, name) not in known
            ]
            if names:
                yield setting, seed, names


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10, help="number of splits")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=[*SETTINGS])
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # The table itself shows how reliable the influence is.
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    rows = pd.read_csv(options.output) if options.output.exists() else pd.DataFrame()
    for setting, seed, names in [] if options.report else todo(options, rows):
        case = SETTINGS[setting](seed)
        for name in names:
            keys = {"setting": setting, "seed": seed, "ranking": name}
            try:
                fresh = [keys | row for row in measured(case, rankings(setting)[name])]
            except ImportError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                continue
            rows = pd.concat([rows, pd.DataFrame(fresh)], ignore_index=True)
            tables.store(rows, options.output)
    print(summary(rows).to_string(na_rep="-", float_format="{:.3f}".format))
    tables.write(opendataval_table(rows), "published_opendataval", options.output)
    tables.write(aqua_table(rows), "published_aqua", options.output)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return means and standard errors over the seeds."""
    groups = rows.groupby(["setting", "ranking", "rule"], sort=False)
    return groups[["F1", "weighted F1", "AP", "share", "seconds"]].agg(["mean", "sem"])


def opendataval_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return F1 by the benchmark's rule, two clusters, and average precision."""
    rows = rows[rows["setting"].str.startswith("OpenDataVal")]
    rows = rows[(rows["rule"] == "two clusters") & (rows["ranking"] != "nothing")]
    table = pd.DataFrame({"ranking": rows["ranking"].unique()})
    for setting in [each for each in SETTINGS if each in rows["setting"].unique()]:
        part = rows[rows["setting"] == setting]
        means = part.groupby("ranking")[["F1", "AP"]].agg(["mean", "sem"])
        means = means.reindex(table["ranking"])
        for figure in ("F1", "AP"):
            table[f"{setting.partition(', ')[2]}: {figure}"] = [
                tables.plus_minus(*pair, ".3f") for pair in means[figure].to_numpy()
            ]
    return table


def aqua_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return AQuA's weighted F1 in percent, and the F1 of the wrong labels.

    As there, the means over both rates.
    """
    rows = rows[rows["setting"].str.startswith("AQuA")]
    noise = rows["setting"].str.extract(r"AQuA, (\w+)", expand=False)
    keys = ["ranking", "rule"]
    means = rows.groupby([*keys, noise], sort=False)[["weighted F1", "F1"]].mean()
    table = rows[keys].drop_duplicates().reset_index(drop=True)
    for name in noise.unique():
        part = means.xs(name, level="setting").reindex(table)
        table[name] = [
            f"{100 * weighted:.1f} ({100 * own:.1f})"
            for weighted, own in part.to_numpy()
        ]
    return table


if __name__ == "__main__":
    main()
