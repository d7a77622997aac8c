"""Table 1 of Hara, Nitanda and Maehara (2019): linear influence against the truth.

For each data set and model, and many random subsamples: Kendall's tau, and the Jaccard
index of the ten lowest and ten highest samples, between the influence and the true
change of the validation loss (200 trainings without one sample each). Then the same
with ``verify=k``, which replaces the estimates of the k samples at each end by exact
values, and its cost.

The data are fetched from OpenML, or read from the folder that the environment variable
``SKINFLUENCE_DATA`` names. A row for each subsample goes to a CSV file, so that an
interrupted run can be resumed. Run it with ``python examples/paper/table1.py``, or with
``--quick`` for two subsamples of each. ``--smoothing`` computes another table instead:
the networks' estimate with the kinks of ReLU smoothed, beside the one without.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent))

import problems
from files import RESULTS, write_about, write_table

from skinfluence.metrics import jaccard_extremes, kendall_tau

VERIFIED = (10, 20, 40, 60)
CELLS = [(data, model) for data in problems.DATA for model in ("LogReg", "DNN")]

# Table 1: Kendall's tau and Jaccard index of the paper's estimate and of the influence
# function of Koh and Liang (2017).
PAPER = {
    ("Adult", "LogReg"): (0.93, 0.80, 0.85),
    ("20News", "LogReg"): (0.94, 0.79, 0.82),
    ("MNIST", "LogReg"): (0.95, 0.83, 0.70),
    ("Adult", "DNN"): (0.75, 0.59, 0.54),
    ("20News", "DNN"): (0.45, 0.25, 0.37),
    ("MNIST", "DNN"): (0.45, 0.37, 0.27),
}


def with_exact_ends(scores: np.ndarray, truth: np.ndarray, k: int) -> np.ndarray:
    """Return what ``influence(..., verify=k)`` does: the truth at both ends."""
    order = np.argsort(scores)
    ends = np.concatenate([order[:k], order[len(order) - k :]])
    verified = scores.copy()
    verified[ends] = truth[ends]
    return verified


def one_subsample(data: str, model: str, seed: int, timed: bool) -> dict[str, Any]:
    """Return a row of the table: one cell, one subsample."""
    (X, y), (X_val, y_val) = problems.subsample(data, seed)
    clf = problems.classifier(data, model, X, y, seed)
    start = time.perf_counter()
    clf.fit(X, y)
    row: dict[str, Any] = {"data": data, "model": model, "seed": seed}
    row["fit_seconds"] = time.perf_counter() - start
    start = time.perf_counter()
    scores = clf.influence(X_val, y_val)
    row["influence_seconds"] = time.perf_counter() - start
    start = time.perf_counter()
    truth = clf.counterfactual_influence(X_val, y_val)
    row["truth_seconds"] = time.perf_counter() - start
    for k in (0, *VERIFIED):
        verified = with_exact_ends(scores, truth, k)
        row[f"kendall_{k}"] = kendall_tau(verified, truth)
        row[f"jaccard_{k}"] = jaccard_extremes(verified, truth)
    for k in VERIFIED if timed else ():
        start = time.perf_counter()
        clf.influence(X_val, y_val, verify=k)
        row[f"seconds_{k}"] = time.perf_counter() - start
    return row


def one_smoothed(data: str, model: str, seed: int) -> dict[str, Any]:
    """Return a row of the other table: without smoothing, and with the best width."""
    (X, y), (X_val, y_val) = problems.subsample(data, seed)
    clf = problems.classifier(data, model, X, y, seed).fit(X, y)
    truth = clf.counterfactual_influence(X_val, y_val)
    row: dict[str, Any] = {"data": data, "model": model, "seed": seed}
    for name, smoothing in (("exact", None), ("auto", "auto")):
        scores = clf.influence(X_val, y_val, smoothing=smoothing)
        row[f"kendall_{name}"] = kendall_tau(scores, truth)
        row[f"jaccard_{name}"] = jaccard_extremes(scores, truth)
    return row


def rows(
    path: Path,
    cells: list[tuple[str, str]],
    n_subsamples: int,
    one: Callable[[str, str, int], dict[str, Any]],
) -> Iterator[pd.DataFrame]:
    """Yield the table as it grows; rows that are in the file are not recomputed."""
    table = pd.read_csv(path) if path.exists() else pd.DataFrame()
    done = (
        set(table[["data", "model", "seed"]].itertuples(index=False, name=None))
        if (len(table))
        else set()
    )
    todo = [
        (data, model, seed)
        for seed in range(n_subsamples)
        for data, model in cells
        if (data, model, seed) not in done
    ]
    yield table
    for data, model, seed in tqdm(todo, unit="subsample"):
        row = one(data, model, seed)
        table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
        write_table(table, path)
        yield table


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return means and standard errors over the subsamples, beside the paper's."""
    found = []
    for (data, model), own in table.groupby(["data", "model"], sort=False):
        tau, jaccard, koh_liang = PAPER[data, model]
        line: dict[str, Any] = {"data": data, "model": model, "n": len(own)}
        for name, theirs in (("kendall", tau), ("jaccard", jaccard)):
            values = own[f"{name}_0"]
            line[name] = values.mean()
            line[f"{name}_se"] = values.std(ddof=1) / len(values) ** 0.5
            line[f"{name}_paper"] = theirs
        line["kendall_koh_liang"] = koh_liang
        for k in VERIFIED:
            line[f"jaccard_{k}"] = own[f"jaccard_{k}"].mean()
        once = own["fit_seconds"]
        line["influence_cost"] = (own["influence_seconds"] / once).mean()
        for k in VERIFIED:
            if f"seconds_{k}" in own:
                line[f"cost_{k}"] = (own[f"seconds_{k}"] / once).mean()
        found.append(line)
    return pd.DataFrame(found)


def smoothed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table of smoothing, means and standard errors."""
    found = []
    for (data, model), own in table.groupby(["data", "model"], sort=False):
        line: dict[str, Any] = {"data": data, "subsamples": len(own)}
        for name, title in (("kendall", "tau"), ("jaccard", "Jaccard")):
            theirs = PAPER[data, model][name == "jaccard"]
            for way, label in (("exact", title), ("auto", f"{title}, smoothed")):
                values = own[f"{name}_{way}"]
                line[label] = f"{values.mean():.3f} ± {values.sem():.3f}"
            line[f"paper's {title}"] = f"{theirs:.2f}"
        found.append(line)
    return pd.DataFrame(found)


def agreement(means: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's Table 1, beside the paper's figures."""
    columns = {
        "data": means["data"],
        "model": means["model"],
        "Kendall's tau": _with_error(means, "kendall"),
        "paper's tau": means["kendall_paper"].map("{:.2f}".format),
        "Jaccard": _with_error(means, "jaccard"),
        "paper's Jaccard": means["jaccard_paper"].map("{:.2f}".format),
        "tau of Koh and Liang, paper": means["kendall_koh_liang"].map("{:.2f}".format),
    }
    return pd.DataFrame(columns)


def verification(means: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table of what ``verify=k`` gains and costs."""
    table = means[["data", "model"]].copy()
    table["none"] = _with_cost(means["jaccard"], means["influence_cost"], ".1f")
    for k in VERIFIED:
        table[f"k = {k}"] = _with_cost(means[f"jaccard_{k}"], means[f"cost_{k}"], ".0f")
    return table


def _with_error(means: pd.DataFrame, name: str) -> list[str]:
    pairs = zip(means[name], means[f"{name}_se"], strict=True)
    return [f"{mean:.3f} ± {error:.3f}" for mean, error in pairs]


def _with_cost(jaccard: pd.Series, cost: pd.Series, form: str) -> list[str]:
    pairs = zip(jaccard, cost, strict=True)
    return [f"{index:.2f} ({ratio:{form}})" for index, ratio in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--subsamples", type=int, default=100)
    parser.add_argument(
        "--timed", type=int, default=3, help="on how many the cost of verify is timed"
    )
    parser.add_argument("--data", nargs="+", choices=problems.DATA, default=None)
    parser.add_argument("--quick", action="store_true", help="two subsamples each")
    parser.add_argument("--smoothing", action="store_true", help="the other table")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.quick:
        options.subsamples, options.timed = 2, 1
    cells = [cell for cell in CELLS if options.data is None or cell[0] in options.data]
    write = write_smoothed if options.smoothing else write_agreement
    write(options, cells)
    write_about(options.output.with_suffix(".json"), threads=options.threads)


def write_agreement(options: argparse.Namespace, cells: list[tuple[str, str]]) -> None:
    """Write and print Table 1, and what verification gains."""
    options.output = options.output or RESULTS / "table1.csv"

    def one(data: str, model: str, seed: int) -> dict[str, Any]:
        return one_subsample(data, model, seed, timed=seed < options.timed)

    if options.timed:
        # The first training also pays for what is done only once.
        one_subsample(*cells[0], 0, timed=False)
    *_, table = rows(options.output, cells, options.subsamples, one)
    done = summary(table)
    written = {"summary": done, "agreement": agreement(done)}
    if f"cost_{VERIFIED[-1]}" in done:  # timed at all
        written["verification"] = verification(done)
    for name, part in written.items():
        write_table(part, options.output.with_name(f"{options.output.stem}_{name}.csv"))
    with pd.option_context("display.width", 120, "display.precision", 3):
        print(done.T.to_string(header=False))


def write_smoothed(options: argparse.Namespace, cells: list[tuple[str, str]]) -> None:
    """Write and print the table of smoothing: logistic regression has no kinks."""
    options.output = options.output or RESULTS / "table1_smoothed.csv"
    cells = [cell for cell in cells if cell[1] == "DNN"]
    *_, table = rows(options.output, cells, options.subsamples, one_smoothed)
    done = smoothed(table)
    write_table(done, options.output.with_name(f"{options.output.stem}_means.csv"))
    print(done.to_string(index=False))


if __name__ == "__main__":
    main()
