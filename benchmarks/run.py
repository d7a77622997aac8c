"""Run the benchmarks: ratios within one run, printed as tables and saved as JSON."""

import argparse
import json
import sys
import warnings
from pathlib import Path

import torch

# The folder above, so that the script runs as it stands.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import ensemble, memory, peers, speed, timing
from skinfluence.exceptions import InfluenceReliabilityWarning

BENCHMARKS = {
    "speed": (speed.run, "Speed: ratios of seconds, same batches"),
    "plans": (memory.plan_table, "Memory: states held at once and steps taken again"),
    "memory": (memory.run, "Thinned runs and runs on disk: ratios of seconds"),
    "peers": (peers.run, "Peers: seconds and fidelity, same run"),
    "ensemble": (ensemble.run, "Counterfactual runs: ratios of seconds, same batches"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--device", default="cpu", help="for speed: cuda adds seconds on a GPU"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # Noise as data, and long runs: what is measured here is time.
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    if options.device != "cpu":
        BENCHMARKS["speed"] = (speed.on_device(options.device), "Speed on a GPU")
    results = {"environment": timing.environment()}
    for name in options.names or BENCHMARKS:
        function, title = BENCHMARKS[name]
        rows = function(options.repeats)
        print(f"\n{title}\n\n{timing.table(rows)}")
        results[name] = rows
    options.output.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\n{results['environment']}\nSaved as {options.output}.")


if __name__ == "__main__":
    main()
