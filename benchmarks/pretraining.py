"""Influence through two stages beside retraining both, on MNIST.

    python benchmarks/pretraining.py

writes benchmarks/pretraining.csv, two rows for each seed, with the pretrained layers
trained further or frozen, and the documentation's table,
benchmarks/results/pretraining.csv. A network is pretrained on the digits 0 to 3 and
fine-tuned on 4 to 6. Both trainings are repeated without each of 200 pretraining
samples, and the change of the fine-tuned network's validation loss is compared
(Pearson's correlation) with three scores of the same samples: the influence through
both stages; the influence on another fine-tuning, on the digits 7 to 9; and the
negative loss in pretraining (a high loss counts as harmful). Seeds already in the file
are skipped. `--report` computes nothing: it prints means and standard errors and writes
the table.
"""

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

# So that the script runs from a checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tables
from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import fetch_mnist
from skinfluence.exceptions import InfluenceReliabilityWarning

OUTPUT = Path("benchmarks/pretraining.csv")
PRETRAINING, TASK, OTHER_TASK = (0, 1, 2, 3), (4, 5, 6), (7, 8, 9)
N_PRETRAINING, N_FINE, N_VALIDATION = 2000, 300, 1000
SCORES = {
    "influence": "influence through both stages",
    "other_task": "influence on another fine-tuning, on the digits 7 to 9",
    "pretraining_loss": "loss in pretraining, high counting as harmful",
}


def network(n_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(784, 32),
        nn.ReLU(),
        nn.Linear(32, 16),
        nn.ReLU(),
        nn.Linear(16, n_classes),
    )


class Digits:
    """MNIST's training images, drawn without replacement."""

    def __init__(self, seed: int) -> None:
        X, y = fetch_mnist(return_X_y=True)
        order = np.random.default_rng(seed).permutation(len(y))
        self.X, self.y = (X[order] / 255).astype(np.float32), y[order]

    def draw(self, digits: tuple[int, ...], *sizes: int) -> list[Any]:
        rows = np.flatnonzero(np.isin(self.y, digits))[: sum(sizes)]
        parts = np.split(rows, np.cumsum(sizes)[:-1])
        return [(self.X[part], self.y[part]) for part in parts]


def classifier(digits: tuple[int, ...], seed: int, **options: Any) -> Any:
    return SGDInfluenceClassifier(
        network,
        module__n_classes=len(digits),
        lr=0.02,
        batch_size=50,
        random_state=seed,
        **options,
    )


def correlation(scores: np.ndarray, truth: np.ndarray) -> float:
    return float(np.corrcoef(scores, truth)[0, 1])


def one_seed(seed: int, n_samples: int) -> pd.DataFrame:
    """Return the correlations for one draw of the data and of the initial weights."""
    digits = Digits(seed)
    (train,) = digits.draw(PRETRAINING, N_PRETRAINING)
    pretrained = classifier(PRETRAINING, seed, max_epochs=10).fit(*train)
    samples = np.random.default_rng(seed).permutation(N_PRETRAINING)[:n_samples]
    losses = -np.log(
        pretrained.predict_proba(train[0])[np.arange(len(train[1])), train[1]]
    )
    rows = []
    for frozen in (False, True):
        nets = []
        for task in (TASK, OTHER_TASK):
            fine, validation = digits.draw(task, N_FINE, N_VALIDATION)
            net = classifier(
                task,
                seed,
                max_epochs=20,
                pretrained=pretrained,
                freeze_pretrained=frozen,
            ).fit(*fine)
            nets.append((net, validation))
        (net, validation), (other, other_validation) = nets
        scores = net.influence(*validation, stage="pretraining")
        others = other.influence(*other_validation, stage="pretraining")
        truth = net.counterfactual_influence(*validation, samples, stage="pretraining")
        rows.append(
            {
                "seed": seed,
                "body": "frozen" if frozen else "trained",
                "samples": n_samples,
                "influence": correlation(scores[samples], truth),
                "other_task": correlation(others[samples], truth),
                "pretraining_loss": correlation(-losses[samples], truth),
                "accuracy": net.score(*validation),
            }
        )
    return pd.DataFrame(rows)


def report(rows: pd.DataFrame) -> str:
    """Return means and standard errors over the seeds as text."""
    groups = rows.groupby("body", sort=False)[[*SCORES, "accuracy"]]
    table = groups.agg(["mean", "sem"])
    return table.to_string(float_format="{:.3f}".format)


def documented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the documentation's table."""
    groups = rows.groupby("body", sort=False)[[*SCORES]]
    mean, error = groups.mean(), groups.sem()
    table = pd.DataFrame({"score": SCORES.values()})
    for body in mean.index:
        table[f"pretrained layers {body}"] = [
            tables.plus_minus(mean.loc[body, score], error.loc[body, score], ".2f")
            for score in SCORES
        ]
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--samples", type=int, default=200, help="to retrain without")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--report", action="store_true", help="print what is there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # The comparison itself shows how reliable the influence is.
    warnings.simplefilter("ignore", InfluenceReliabilityWarning)
    done = pd.DataFrame(columns=["seed"])
    if options.output.exists():
        done = pd.read_csv(options.output, comment="#")
    for seed in () if options.report else range(options.seeds):
        if seed in set(done["seed"]):
            continue
        rows = one_seed(seed, options.samples)
        done = pd.concat([done, rows], ignore_index=True) if len(done) else rows
        save(done, options)
        print(f"seed {seed} done", file=sys.stderr)
    print(report(done))
    tables.write(documented(done), "pretraining", options.output)


def save(rows: pd.DataFrame, options: argparse.Namespace) -> None:
    """Write the file whole or not at all, with its command above."""
    command = f"# python benchmarks/pretraining.py --seeds {options.seeds}"
    if options.samples != 200:
        command += f" --samples {options.samples}"
    fresh = options.output.with_suffix(".part")
    text = rows.to_csv(index=False, float_format="%.6g")
    fresh.write_text(f"{command}\n{text}")
    fresh.replace(options.output)


if __name__ == "__main__":
    main()
