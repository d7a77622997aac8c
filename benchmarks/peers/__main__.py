"""Run the comparison with other libraries alone, or a part of it."""

import argparse
from pathlib import Path

import pandas as pd
import torch

from benchmarks import timing

from .measure import PEERS, run
from .problem import SETTINGS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=[*SETTINGS])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="a CSV file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = run(options.repeats, options.only, options.settings)
    print(timing.table(rows))
    print(timing.environment())
    if options.output is not None:
        table = pd.DataFrame(rows)
        table.to_csv(options.output, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
