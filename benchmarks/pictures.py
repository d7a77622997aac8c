"""Finding pictures in the wrong folder from the command line: CIFAR-10 as files.

    python benchmarks/pictures.py

writes 3,000 pictures of CIFAR-10 as PNG files into a folder for each class, one in ten
into a wrong one, runs `skinfluence audit` on them with default options, and counts the
wrong ones among the first suspects; its processor time is taken. The figures go to
benchmarks/pictures.csv, a row for each draw, and to the documentation's table,
benchmarks/results/pictures.csv. `--report` computes nothing.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tables, timing
from benchmarks.audit import suspects
from skinfluence.commands import main as skinfluence
from skinfluence.datasets import fetch_cifar10, flip_labels

OUTPUT = Path("benchmarks/pictures.csv")
N, WRONG = 3_000, 0.1
FIRST = (50, 100, 200)


def write_pictures(folder: Path, seed: int) -> np.ndarray:
    """Write the pictures; return which are wrong, in the order of their paths."""
    X, y = fetch_cifar10(subset="train", return_X_y=True)
    rows = np.random.RandomState(seed).permutation(len(X))[:N]
    labels, flipped = flip_labels(y[rows].astype(str), WRONG, random_state=seed)
    wrong = {}
    for row, label, is_wrong in zip(rows, labels, flipped, strict=True):
        name = f"{label}/{row:05d}.png"
        (folder / label).mkdir(exist_ok=True, parents=True)
        Image.fromarray(X[row].transpose(1, 2, 0)).save(folder / name)
        wrong[name] = is_wrong
    return np.array([wrong[name] for name in sorted(wrong)])


def measured(seed: int) -> dict[str, Any]:
    """Count the wrong ones among the first suspects, and time the command."""
    with tempfile.TemporaryDirectory() as name:
        images, report = Path(name, "images"), Path(name, "report.html")
        wrong = write_pictures(images, seed)
        began = time.process_time()
        arguments = ["audit", str(images), "--report", str(report), "--quiet"]
        assert skinfluence([*arguments, "--n", str(max(FIRST))]) == 0
        seconds = time.process_time() - began
        found = wrong[suspects(report)]
    counts = {f"first {k}": int(found[:k].sum()) for k in FIRST}
    return {"seed": seed, "wrong": int(wrong.sum()), **counts, "CPU seconds": seconds}


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table: wrong ones among the first, of each draw."""
    return pd.DataFrame(
        {
            "suspects": [f"first {k}" for k in FIRST],
            "in the wrong folder": [
                ", ".join(map(str, rows[f"first {k}"])) for k in FIRST
            ],
            "by chance": [f"{WRONG * k:.0f}" for k in FIRST],
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of draws")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--report", action="store_true", help="compute nothing")
    options = parser.parse_args()
    if not options.report:
        torch.set_num_threads(1)
        found = [measured(seed) for seed in range(options.seeds)]
        pd.DataFrame(found).to_csv(options.output, index=False, float_format="%.4g")
        print(timing.environment())
    rows = pd.read_csv(options.output)
    table = documented(rows)
    print(table.to_string(index=False))
    print(f"{rows['CPU seconds'].mean():.0f} s of processor time each")
    tables.write(table, "pictures", options.output)


if __name__ == "__main__":
    main()
