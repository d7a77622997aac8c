"""Train on an array on the disk that is larger than the memory it may take.

    python benchmarks/large.py --rows 2500000 --columns 500

writes a file of 5 GB to a temporary folder, trains a linear model on it for an epoch,
retraces, and prints seconds and megabytes: those of the process itself, without the
pages of the file, which the system takes back when it needs them. Linux only.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import timing
from skinfluence import SGDInfluenceClassifier

_PART = 100_000  # rows that are drawn at once


def written(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Write noise, and return it as it lies on the disk."""
    rng = np.random.default_rng(0)
    X = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for begin in range(0, len(X), _PART):
        part = X[begin : begin + _PART]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
    X.flush()
    return np.load(path, mmap_mode="r")


def own_megabytes() -> float:
    """Return the memory of this process that is not a file's."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = [line for line in status if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1024


def told(what: str, function: Callable[..., Any], *given: object) -> Any:
    """Call a function, and print what it took."""
    begun = time.perf_counter()
    found = function(*given)
    seconds = time.perf_counter() - begun
    print(f"{what}: {seconds:.0f} s, {own_megabytes():.0f} MB")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2_500_000)
    parser.add_argument("--columns", type=int, default=500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        X = told("write", written, path, (options.rows, options.columns))
        y = (X[:, 0] > 0).astype(np.int64)
        clf = SGDInfluenceClassifier(
            "linear", max_epochs=1, batch_size=8192, random_state=0
        )
        told("fit", clf.fit, X, y)
        told("influence", clf.influence, X[:1000], y[:1000])
        print(f"{path.stat().st_size / 1e9:.1f} GB on the disk\n{timing.environment()}")


if __name__ == "__main__":
    main()
