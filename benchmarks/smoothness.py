"""What makes a run smooth, and its influence reliable: before and after each change.

300 digits (as pictures for the networks with pooling), 50 epochs: metasmoothness,
linear datamodeling score, rank correlation and median error of single removals, by
`check_influence` with 40 samples and 40 subsets; and accuracy.

    python benchmarks/smoothness.py

writes benchmarks/smoothness.csv, a row for each run, and the documentation's table,
benchmarks/results/smoothness.csv. `--report` computes nothing.
"""

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import tables
from skinfluence import SGDInfluenceClassifier

N_CHECKED = 40


class Normed(nn.Sequential):
    """A layer of ReLU, with BatchNorm before or after it or without."""

    def __init__(self, norm: str) -> None:
        layers = {
            "none": [nn.ReLU()],
            "before": [nn.BatchNorm1d(100), nn.ReLU()],
            "after": [nn.ReLU(), nn.BatchNorm1d(100)],
        }
        super().__init__(nn.Linear(64, 100), *layers[norm], nn.Linear(100, 10))


class Pooled(nn.Sequential):
    """A convolution of pictures of 8 x 8, pooled."""

    def __init__(self, pooling: type[nn.Module]) -> None:
        super().__init__(
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, 16, 3, padding=1),
            nn.SiLU(),
            pooling(2),
            nn.Flatten(),
            nn.Linear(256, 10),
        )


def _mlp(**options: Any) -> dict[str, Any]:
    return {"module": "mlp", "module__activation": "relu", "lr": 0.5, **options}


def _adam(eps: float) -> dict[str, Any]:
    return _mlp(optimizer=torch.optim.Adam, lr=0.01, optimizer__eps=eps)


# What changes -> the values, from rough to smooth, and their runs.
CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "activation": {
        "ReLU": _mlp(),
        "SiLU": _mlp(module__activation="silu"),
    },
    "learning rate": {
        "1": _mlp(lr=1.0),
        "0.5": _mlp(),
        "0.1": _mlp(lr=0.1),
    },
    "batch size": {
        "10": _mlp(batch_size=10),
        "50": _mlp(),
        "150": _mlp(batch_size=150),
    },
    "BatchNorm": {
        "after ReLU": {"module": Normed, "module__norm": "after", "lr": 0.5},
        "before ReLU": {"module": Normed, "module__norm": "before", "lr": 0.5},
    },
    "Adam's eps": {
        "1e-8": _adam(1e-8),
        "1e-3": _adam(1e-3),
    },
    "pooling": {
        "maximum": {"module": Pooled, "module__pooling": nn.MaxPool2d, "lr": 0.5},
        "average": {"module": Pooled, "module__pooling": nn.AvgPool2d, "lr": 0.5},
    },
}


def run() -> Iterator[dict[str, Any]]:
    """Yield a row for each value of each change."""
    X, y = load_digits(return_X_y=True)
    X, X_val, y, y_val = train_test_split(
        (X / 16).astype("float32"), y, train_size=300, random_state=0
    )
    for change, values in CHANGES.items():
        for value, options in values.items():
            clf = SGDInfluenceClassifier(
                **{"batch_size": 50, "max_epochs": 50, "random_state": 0, **options}
            ).fit(X, y)
            check = clf.check_influence(X_val, y_val, N_CHECKED, random_state=0)
            yield {
                "change": change,
                "value": value,
                "metasmoothness": check.metasmoothness,
                "LDS": check.lds,
                "rank correlation": check.correlation,
                "median error": check.relative_error,
                "accuracy": clf.score(X_val, y_val),
            }
            print(f"{change}: {value} done", file=sys.stderr)


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table."""
    table = rows.rename(columns={"value": "from rough to smooth"})
    for name in ("metasmoothness", "LDS", "rank correlation", "accuracy"):
        table[name] = [f"{value:.2f}".replace("-", "−") for value in rows[name]]
    table["median error"] = [f"{100 * value:.0f} %" for value in rows["median error"]]
    return tables.without_repeats(table.to_dict("records"), "change")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/smoothness.csv")
    )
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # The table itself shows how reliable the influence is.
    warnings.simplefilter("ignore")
    if options.report:
        rows = pd.read_csv(options.output, dtype={"value": str})
    else:
        rows = pd.DataFrame(run())
        rows.to_csv(options.output, index=False, float_format="%.6g")
    tables.write(documented(rows), "smoothness", options.output)
    print(documented(rows).to_string())


if __name__ == "__main__":
    main()
