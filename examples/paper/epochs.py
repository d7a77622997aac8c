"""Table 1's networks trained for longer: where a derivative fails, and what helps.

On the data of Table 1 (200 samples) the paper's network is trained for 2 to 38 epochs,
as is the same network with SiLU in the place of ReLU. Kendall's tau and the Jaccard
index of both ends, with the true changes of the validation loss: of the influence; with
smoothed kinks; of the last two epochs alone; with 20 samples at each end verified; and
of the smooth network, whose truth is its own.

A row for each subsample goes to a CSV file, so that an interrupted run can be resumed.

    python examples/paper/epochs.py

``--quick`` computes one subsample of each.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent))

import problems
from files import RESULTS, write_about, write_table
from table1 import with_exact_ends

from skinfluence.exceptions import InfluenceReliabilityWarning
from skinfluence.metrics import jaccard_extremes, kendall_tau

EPOCHS = (2, 5, 10, 20, 38)
LAST, VERIFIED = 2, 20
KEYS = ["data", "epochs", "seed"]
WAYS = {
    "relu": "ReLU",
    "auto": "smoothed",
    "last": "last two epochs",
    "verify": "ends verified",
    "silu": "SiLU",
}


def one(data: str, epochs: int, seed: int) -> dict[str, Any]:
    """Return a row: one data set, number of epochs and subsample."""
    (X, y), valid = problems.subsample(data, seed)
    relu = problems.classifier(data, "DNN", X, y, seed).set_params(max_epochs=epochs)
    silu = problems.classifier(data, "DNN", X, y, seed).set_params(
        max_epochs=epochs, module__activation=nn.SiLU
    )
    relu.fit(X, y)
    truth = relu.counterfactual_influence(*valid)
    scores = relu.influence(*valid)
    found = {
        "relu": (scores, truth),
        "auto": (relu.influence(*valid, smoothing="auto"), truth),
        "last": (relu.influence(*valid, last_epochs=LAST), truth),
        "verify": (with_exact_ends(scores, truth, VERIFIED), truth),
    }
    silu.fit(X, y)
    found["silu"] = silu.influence(*valid), silu.counterfactual_influence(*valid)
    row: dict[str, Any] = {"data": data, "epochs": epochs, "seed": seed}
    for way, pair in found.items():
        row[f"kendall_{way}"] = kendall_tau(*pair)
        row[f"jaccard_{way}"] = jaccard_extremes(*pair)
    return row


def documented(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the documentation's table, means and standard errors."""
    lines = []
    for (data, epochs), own in table.groupby(["data", "epochs"], sort=False):
        line: dict[str, Any] = {"data": data, "epochs": epochs}
        for way, title in WAYS.items():
            values = own[f"{measure}_{way}"]
            line[title] = f"{values.mean():.2f} ± {values.sem():.2f}"
        lines.append(line)
    return pd.DataFrame(lines).sort_values(["data", "epochs"], kind="stable")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--subsamples", type=int, default=10)
    parser.add_argument("--data", nargs="+", default=[*problems.DATA])
    parser.add_argument("--epochs", nargs="+", type=int, default=[*EPOCHS])
    parser.add_argument("--quick", action="store_true", help="one subsample of each")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS / "epochs.csv")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # The table itself shows how reliable the influence is.
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    n_subsamples = 1 if options.quick else options.subsamples
    table = pd.read_csv(options.output) if options.output.exists() else pd.DataFrame()
    done = set(table[KEYS].itertuples(index=False, name=None)) if len(table) else set()
    todo = [
        (data, epochs, seed)
        for seed in range(n_subsamples)
        for data in options.data
        for epochs in options.epochs
        if (data, epochs, seed) not in done
    ]
    for key in tqdm(todo, unit="subsample"):
        table = pd.concat([table, pd.DataFrame([one(*key)])], ignore_index=True)
        write_table(table, options.output)
    for measure in ("kendall", "jaccard"):
        path = options.output.with_name(f"{options.output.stem}_{measure}.csv")
        part = documented(table, measure)
        write_table(part, path)
        print(f"{measure}\n{part.to_string(index=False)}")
    write_about(options.output.with_suffix(".json"), threads=options.threads)


if __name__ == "__main__":
    main()
