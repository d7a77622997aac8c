"""Finding wrong labels in a table from the command line: Adult with 10 % flipped.

    python benchmarks/audit.py

writes 10,000 rows of Adult as CSV, with one label in ten flipped, runs `skinfluence
audit` on it with default options, and counts the flips among the first rows of the
report. For comparison it counts them among the rows whose label is least probable under
a model of the same kind that has not seen them (the same folds). Results go to
benchmarks/audit.csv, a row for each seed, and to the documentation's table,
benchmarks/results/audit.csv. Seeds already in the file are skipped. Without the data
nothing is computed.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tables
from skinfluence.commands import main as skinfluence
from skinfluence.commands._arguments import make_parser
from skinfluence.commands._models import make_model
from skinfluence.commands._problem import make_folds, read_problem
from skinfluence.datasets import fetch_adult, flip_labels

OUTPUT = Path("benchmarks/audit.csv")
FLIPPED = 0.1
FIRST = (20, 50, 100)


def write_table(path: Path, n_rows: int, seed: int) -> np.ndarray:
    """Write rows of Adult with some labels flipped, and return which ones."""
    X, y = fetch_adult(subset="train", return_X_y=True)
    rows = np.random.RandomState(seed).permutation(len(X))[:n_rows]
    noisy, flipped = flip_labels(y.iloc[rows].astype(str), FLIPPED, random_state=seed)
    X.iloc[rows].assign(income=noisy).to_csv(path, index=False)
    return flipped


def suspects(report: Path) -> np.ndarray:
    """Return the rows of a report, most suspicious first."""
    found = re.search(
        r'type="application/json" id="data">(.*?)</script>',
        report.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    assert found is not None
    return np.array([each["sample"] for each in json.loads(found[1])["suspects"]])


def least_probable(table: Path, seed: int, module: str) -> np.ndarray:
    """Return the rows ordered by the out-of-fold probability of their labels."""
    options = ["audit", str(table), "--target", "income", "--report", "none.html"]
    options += ["--seed", str(seed), "--module", module]
    parsed = make_parser().parse_args(options)
    problem = read_problem(parsed)
    X, y = problem.X, problem.target.y
    model = make_model(problem, parsed, []).set_params(record=None)
    probability = np.ones(len(y))
    for train, held_out in make_folds(problem.target, seed):
        fold = clone(model).fit(X[train], y[train])
        column = np.searchsorted(fold.classes_, y[held_out])
        given = fold.predict_proba(X[held_out])[np.arange(len(held_out)), column]
        probability[held_out] = given
    return probability.argsort(kind="stable")


def one_seed(seed: int, n_rows: int, module: str) -> dict[str, Any]:
    """Count the flips among the first rows, and time the command."""
    with tempfile.TemporaryDirectory() as folder:
        table, report = Path(folder, "adult.csv"), Path(folder, "report.html")
        flipped = write_table(table, n_rows, seed)
        files = [str(table), "--target", "income", "--report", str(report)]
        options = ["--n", str(max(FIRST)), "--seed", str(seed), "--module", module]
        start, cpu = time.perf_counter(), time.process_time()
        code = skinfluence(["audit", *files, *options])
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
        assert code == 0
        orders = {
            "influence": suspects(report),
            "out-of-fold probability": least_probable(table, seed, module),
        }
    counts = {
        f"{name}, first {k}": int(flipped[order[:k]].sum())
        for name, order in orders.items()
        for k in FIRST
    }
    row = {"seed": seed, "rows": n_rows, "module": module, **counts}
    return {**row, "seconds": seconds, "CPU seconds": cpu_seconds}


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table: flips among the first 100 rows."""

    def counts(part: pd.DataFrame, ranking: str) -> str:
        return ", ".join(map(str, part[f"{ranking}, first 100"]))

    return pd.DataFrame(
        {
            "model": f"`{module}`" + (" (the default)" if module == "mlp" else ""),
            "`skinfluence audit`": counts(part, "influence"),
            "least probable labels": counts(part, "out-of-fold probability"),
            # Of the fastest run: other programs slow the rest.
            "CPU seconds": f"{part['CPU seconds'].min():.0f}",
        }
        for module, part in rows.groupby("module", sort=False)
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of tables")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--module", default="mlp", choices=["mlp", "linear"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        fetch_adult(subset="train")
    except OSError as error:
        print(f"Adult is not available ({error}): nothing computed.")
        return
    table = pd.DataFrame()
    if options.output.exists():
        table = pd.read_csv(options.output, comment="#")
    done = set()
    if not table.empty:
        same = (table["rows"] == options.rows) & (table["module"] == options.module)
        done = set(table.loc[same, "seed"])
    for seed in range(options.seeds):
        if seed in done:
            continue
        row = pd.DataFrame([one_seed(seed, options.rows, options.module)])
        table = pd.concat([table, row], ignore_index=True)
        command = f"# python benchmarks/audit.py --seeds {options.seeds}\n"
        part = options.output.with_suffix(".part")
        part.write_text(command + table.to_csv(index=False, float_format="%.1f"))
        part.replace(options.output)
    print(table.to_string(index=False))
    tables.write(documented(table), "audit", options.output)


if __name__ == "__main__":
    main()
