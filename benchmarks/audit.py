"""Finding wrong labels in a table by the command line: Adult with 10 % flipped.

    python benchmarks/audit.py

writes 10,000 rows of Adult as CSV, with one label in ten flipped, has `skinfluence
audit` make its report with all options at their defaults, and counts the flips among
the first rows. It makes benchmarks/audit.csv: a row for each seed. Seeds that are in
the file already are not computed again. Where the data cannot be had, nothing is done.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

# The folder above, so that the script runs as it stands.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from skinfluence.commands import main as skinfluence
from skinfluence.datasets import fetch_adult, flip_labels

OUTPUT = Path("benchmarks/audit.csv")
FLIPPED = 0.1
FIRST = (20, 50, 100)


def write_table(path: Path, n_rows: int, seed: int) -> np.ndarray:
    """Write rows of Adult with flips among their labels, and return which they are."""
    X, y = fetch_adult(subset="train", return_X_y=True)
    rows = np.random.RandomState(seed).permutation(len(X))[:n_rows]
    noisy, flipped = flip_labels(y.iloc[rows].astype(str), FLIPPED, random_state=seed)
    X.iloc[rows].assign(income=noisy).to_csv(path, index=False)
    return flipped


def suspects(report: Path) -> np.ndarray:
    """Return the rows that a report shows, the most suspicious first."""
    found = re.search(
        r'type="application/json" id="data">(.*?)</script>',
        report.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    assert found is not None
    return np.array([each["sample"] for each in json.loads(found[1])["suspects"]])


def one_seed(seed: int, n_rows: int, module: str) -> dict[str, float]:
    """Return how many flips are among the first suspects, and how long it took."""
    with tempfile.TemporaryDirectory() as folder:
        table, report = Path(folder, "adult.csv"), Path(folder, "report.html")
        flipped = write_table(table, n_rows, seed)
        files = [str(table), "--target", "income", "--report", str(report)]
        options = ["--n", str(max(FIRST)), "--seed", str(seed), "--module", module]
        start = time.perf_counter()
        code = skinfluence(["audit", *files, *options])
        seconds = time.perf_counter() - start
        assert code == 0
        rows = suspects(report)
    counts = {f"flips in first {k}": int(flipped[rows[:k]].sum()) for k in FIRST}
    return {
        "seed": seed,
        "rows": n_rows,
        "module": module,
        **counts,
        "seconds": seconds,
    }


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
        print(f"Adult cannot be had ({error}): nothing is done.")
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


if __name__ == "__main__":
    main()
