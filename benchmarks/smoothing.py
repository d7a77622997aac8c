"""How well the influence of a ReLU network foretells, with its kinks smoothed.

Digits with 20 % flipped labels, one hidden layer of ReLU, batches of 50, in two
settings (those of benchmarks/peers): Spearman's correlation with the exact removal of
60 samples, and the linear datamodeling score over 60 subsets that keep 90 %.

    python benchmarks/smoothing.py

writes benchmarks/smoothing.csv, a row for each setting, seed and width, and the
documentation's table, benchmarks/results/smoothing.csv. `--report` computes nothing: it
prints means and standard errors over the seeds and writes the table.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import tables
from benchmarks.peers.problem import Fidelity, load
from skinfluence.exceptions import InfluenceReliabilityWarning

SETTINGS = {
    "easy": "32 units, 20 epochs, learning rate 0.1",
    "hard": "128 units, 100 epochs, learning rate 0.2",
}
SMOOTHINGS: tuple[float | str, ...] = (0.0, 0.1, "auto")


def run(seeds: range) -> Iterator[dict[str, Any]]:
    """Yield a row for each setting, seed and width."""
    for setting in SETTINGS:
        for seed in seeds:
            problem = load(setting, seed, module__activation="relu")
            with tempfile.TemporaryDirectory() as folder:
                fidelity = Fidelity(problem, folder, n_samples=60, seed=seed)
                for smoothing in SMOOTHINGS:
                    scores = problem.clf.influence(
                        problem.X_val, problem.y_val, smoothing=smoothing
                    )
                    yield {
                        "setting": setting,
                        "seed": seed,
                        "smoothing": str(smoothing),
                        **fidelity(scores),
                    }
            print(f"{setting}: seed {seed} done", file=sys.stderr)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return means and standard errors over the seeds."""
    values = rows.groupby(["setting", "smoothing"], sort=False)[["Spearman", "LDS"]]
    return values.agg(["mean", "sem"])


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table."""
    table = [
        {
            "run": SETTINGS[setting],
            "smoothing": '"auto"' if smoothing == "auto" else f"{float(smoothing):g}",
            "Spearman, single samples": tables.plus_minus(*row["Spearman"], ".2f"),
            "LDS": tables.plus_minus(*row["LDS"], ".2f"),
        }
        for (setting, smoothing), row in summary(rows).iterrows()
    ]
    return tables.without_repeats(table, "run")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/smoothing.csv"))
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # The table itself shows how reliable the influence is.
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    if options.report:
        rows = pd.read_csv(options.output, dtype={"smoothing": str})
    else:
        rows = pd.DataFrame(run(range(options.seeds)))
        rows.to_csv(options.output, index=False, float_format="%.6g")
    tables.write(documented(rows), "smoothing", options.output)
    with pd.option_context("display.width", 140, "display.precision", 2):
        print(summary(rows).to_string())


if __name__ == "__main__":
    main()
