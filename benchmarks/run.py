"""Run the benchmarks: ratios within one run, printed as tables and saved as JSON.

`--tables` also writes the documentation's tables, benchmarks/results/<name>.csv.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import torch

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import ensemble, memory, peers, scale, speed, tables, timing
from skinfluence.exceptions import InfluenceReliabilityWarning

BENCHMARKS = {
    "speed": (speed.run, "Speed: ratios of seconds, same batches"),
    "scale": (scale.run, "Growth: ratios of seconds, with rows, questions and classes"),
    "plans": (memory.plan_table, "Memory: states held at once and steps taken again"),
    "memory": (memory.run, "Thinned runs and runs on disk: ratios of seconds"),
    "peers": (peers.run, "Peers: seconds and fidelity, same run"),
    "ensemble": (ensemble.run, "Counterfactual runs: ratios of seconds, same batches"),
}


# What stands between a ratio and what it should be at most.
WHY = {
    "fit, recording / plain PyTorch": "most of it is skorch's loop, as the fit that "
    "does not record shows; the rest is a tenth of a millisecond for each step, and a "
    "test of the first step's derivative",
    "retrace / plain PyTorch": "a step back is a forward pass, a backward pass and one "
    "through both",
    "compiled retrace / plain PyTorch": "products of small matrices are called one by "
    "one; convolutions run in the same kernels",
    "fit, recording / skorch's fit": "the derivative of the first step is tested once, "
    "and the training is short",
    "label influence / retrace": "every step also differentiates its outputs",
    "each / their mean": "each question has products of its own in every layer",
}

# What must hold is for who runs the benchmarks, not for the documentation.
UNDOCUMENTED = ["at most", "bound", "same bits"]


def documented(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the documentation's table."""
    table = pd.DataFrame(rows).drop(columns=UNDOCUMENTED, errors="ignore")
    numbers = table.select_dtypes("float").columns
    table[numbers] = table[numbers].map("{:.2f}".format)
    return table.rename(columns={"problem": "run", "ratio": "ratio of seconds"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--device", default="cpu", help="for speed: cuda adds seconds on a GPU"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results.json"))
    parser.add_argument("--tables", action="store_true", help="write the docs' tables")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # Only time is measured here, on noise and in long runs.
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    if options.device != "cpu":
        BENCHMARKS["speed"] = (speed.on_device(options.device), "Speed on a GPU")
    results = {"environment": timing.environment()}
    for name in options.names or BENCHMARKS:
        function, title = BENCHMARKS[name]
        rows = function(options.repeats)
        table = f"\n{title}\n\n{timing.table(rows)}\n{timing.missed(rows, WHY)}"
        print(table, flush=True)  # into a pipe too: the next one takes minutes
        results[name] = rows
        if options.tables and name != "peers":  # benchmarks.peers writes those
            tables.write(documented(rows), name, options.output)
    options.output.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\n{results['environment']}\nSaved as {options.output}.")


if __name__ == "__main__":
    main()
