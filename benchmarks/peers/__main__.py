"""Run the comparison with other libraries alone, or a part of it.

`--report FILE` computes nothing: it writes the documentation's tables from such a CSV.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

from benchmarks import tables, timing

from .measure import PEERS, run
from .problem import SETTINGS


def documented(rows: pd.DataFrame, setting: str) -> pd.DataFrame:
    """Return the documentation's table of one setting."""
    table = rows[rows["setting"] == setting].drop(columns="setting")
    numbers = table.columns.drop("method")
    table[numbers] = table[numbers].map("{:.2f}".format)
    return table.rename(columns={"precision": "average precision"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=[*SETTINGS])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="a CSV file")
    parser.add_argument("--report", type=Path, help="a CSV file that is there")
    options = parser.parse_args()
    if options.report is not None:
        rows = pd.read_csv(options.report, comment="#")
        for setting in SETTINGS:
            tables.write(documented(rows, setting), f"peers_{setting}", options.report)
        return
    torch.set_num_threads(1)
    measured = run(options.repeats, options.only, options.settings)
    print(timing.table(measured))
    print(timing.environment())
    if options.output is not None:
        table = pd.DataFrame(measured)
        table.to_csv(options.output, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
