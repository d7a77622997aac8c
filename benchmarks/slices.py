"""Are planted bad slices of Adult found first, and does removing them help?

    python benchmarks/slices.py

writes benchmarks/slices.csv, a row for each planted slice and seed, and the
documentation's table, benchmarks/results/slices.csv. All labels of the slice, 2 to
4 % of 10,000 rows of 14 columns, are flipped. `--report` computes nothing: it writes
the table.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tables
from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import fetch_adult
from skinfluence.exceptions import InfluenceReliabilityWarning
from skinfluence.inspection import slice_influence

N_TRAIN, N_VAL = 10_000, 2_000


def planted(frame: pd.DataFrame) -> dict[str, tuple[str, pd.Series]]:
    """Return slices of 2 to 4 % of the rows, in words and as masks."""
    hours, age = frame["hours-per-week"], frame["age"]
    return {
        "annotator": ("annotator = a7", frame["annotator"] == "a7"),
        "month": (
            "month in 2023-03",
            frame["month"].dt.strftime("%Y-%m") == "2023-03",
        ),
        "occupation and education": (
            "education-num ≥ 13 and occupation = Adm-clerical",
            (frame["education-num"] >= 13) & (frame["occupation"] == "Adm-clerical"),
        ),
        "age and hours": (
            "age < 23 and hours-per-week = 40",
            (age < 23) & (hours == 40),
        ),
    }


def one(X: pd.DataFrame, y: np.ndarray, name: str, seed: int) -> dict[str, Any]:
    """Flip the labels of a slice, and look for it."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(X))
    train, val, test = np.split(rows, [N_TRAIN, N_TRAIN + N_VAL])
    frame = X.iloc[train].reset_index(drop=True)
    frame["annotator"] = rng.choice([f"a{k}" for k in range(50)], N_TRAIN)
    days = pd.to_timedelta(rng.integers(0, 4 * 365, N_TRAIN), "D")
    frame["month"] = pd.Timestamp("2020-01-01") + days
    words, mask = planted(frame)[name]
    labels = y.copy()
    wrong = train[mask.to_numpy()]
    labels[wrong] = 1 - labels[wrong]
    rare = {"min_frequency": 20, "handle_unknown": "infrequent_if_exist"}
    prepare = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (
            OneHotEncoder(sparse_output=False, **rare),
            make_column_selector(dtype_exclude="number"),
        ),
    ).fit(X.iloc[train])
    inputs = prepare.transform(X).astype(np.float32)
    clf = SGDInfluenceClassifier(random_state=seed).fit(inputs[train], labels[train])
    judge = inputs[val], y[val]
    start = time.process_time()
    influence = clf.influence(*judge, at="path")
    retrace = time.process_time() - start
    start = time.process_time()
    found = slice_influence(
        clf, frame, *judge, influence=influence, n_exact=0, random_state=seed
    )
    search = time.process_time() - start
    start = time.process_time()
    truth, first = clf.counterfactual_influence(
        *judge, [np.flatnonzero(mask), found["samples"][0]], at="path"
    )
    exact = time.process_time() - start
    in_truth = np.isin(found["samples"][0], np.flatnonzero(mask)).sum()
    score = clf.score(inputs[test], y[test])
    cleaned = clf.refit_without(found["samples"][0])
    of_truth = clf.refit_without(np.flatnonzero(mask))
    return {
        "planted": words,
        "seed": seed,
        "rows": int(mask.sum()),
        "first": found["slice"][0],
        "rows of first": found["n_rows"][0],
        "overlap": in_truth / (found["n_rows"][0] + mask.sum() - in_truth),
        "p": found["p_value"][0],
        "listed": len(found),
        "estimate": found["estimate"][0],
        "exact": first,
        "exact of truth": truth,
        "gain": 100 * (cleaned.score(inputs[test], y[test]) - score),
        "gain of truth": 100 * (of_truth.score(inputs[test], y[test]) - score),
        "slices": found.attrs["n_tried"],
        "seconds of retrace": retrace,
        "seconds of search": search,
        "seconds of two exact": exact,
    }


def run(seeds: range) -> pd.DataFrame:
    X, y = fetch_adult(subset="all", return_X_y=True)
    X = X.drop(columns=["fnlwgt", "education"])
    labels = np.unique(np.asarray(y).astype(str), return_inverse=True)[1]
    names = list(planted(X.assign(annotator="", month=pd.Timestamp(0))))
    rows = []
    for name in names:
        for seed in seeds:
            rows.append(one(X, labels, name, seed))
            print(rows[-1], file=sys.stderr)
    return pd.DataFrame(rows)


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table: means over the seeds."""
    rows = rows.assign(
        found=rows["overlap"] >= 0.9,
        ratio=rows["exact"] / rows["exact of truth"],
        seconds=rows["seconds of search"] / rows["seconds of retrace"],
    )
    table = []
    for words, of in rows.groupby("planted", sort=False):
        table.append(
            {
                "planted slice": words,
                "rows": f"{of['rows'].mean():.0f}",
                "found first": f"{of['found'].sum()} of {len(of)}",
                "same rows": f"{of['overlap'].mean():.0%}".replace("%", " %"),
                "exact gain, of the truth's": f"{of['ratio'].mean():.2f}",
                "accuracy, points": tables.plus_minus(
                    of["gain"].mean(), of["gain"].sem(), "+.2f"
                ),
                "accuracy, truth": tables.plus_minus(
                    of["gain of truth"].mean(), of["gain of truth"].sem(), "+.2f"
                ),
                "search, retraces": f"{of['seconds'].mean():.2f}",
            }
        )
    return pd.DataFrame(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/slices.csv"))
    parser.add_argument("--report", action="store_true", help="write the table only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    if options.report:
        rows = pd.read_csv(options.output)
    else:
        rows = run(range(options.seeds))
        rows.to_csv(options.output, index=False, float_format="%.4g")
    tables.write(documented(rows), "slices", options.output)
    print(documented(rows).to_string())


if __name__ == "__main__":
    main()
