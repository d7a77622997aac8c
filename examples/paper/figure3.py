"""Figure 3 of Hara, Nitanda and Maehara (2019): the images that each method finds.

A row for each method: the training images of one split that it would remove first, from
left to right. Above each stand its label, and behind an arrow what the network predicts
where that is something else. With ``--flip 0.1`` a tenth of the labels is wrong; these
images have a thick frame.

The rankings are those of ``figure2.py`` where it has run with the same options, and are
computed otherwise. The data are fetched from OpenML, or read from the folder that the
environment variable ``SKINFLUENCE_DATA`` names. Run it with ``python
examples/paper/figure3.py --data mnist``.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cleansing import experiment_of, parser
from files import write_about, write_table
from images import CLASSES, images

RANDOM = "random"  # tells nothing here


def found(scores: pd.DataFrame, methods: list[str], n: int) -> pd.DataFrame:
    """Return the images that each method ranks first."""
    first = [
        scores.loc[np.argsort(scores[method].to_numpy(), kind="stable")[:n]]
        .assign(method=method, rank=range(1, n + 1), score=scores[method])
        .filter(["method", "rank", "row", "label", "predicted", "flipped", "score"])
        for method in methods
    ]
    return pd.concat(first, ignore_index=True)


def plot(table: pd.DataFrame, data: str, title: str, path: Path) -> None:
    """Draw the images, a row for each method."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    pictures, _ = images(data, "train")
    methods = list(table["method"].unique())
    n = int(table["rank"].max())
    figure, axes = plt.subplots(
        len(methods),
        n,
        figsize=(1.6 + 1.05 * n, 0.5 + 1.3 * len(methods)),
        squeeze=False,
        layout="constrained",
    )
    for image in table.itertuples():
        ax = axes[methods.index(image.method), image.rank - 1]
        ax.imshow(np.moveaxis(pictures[image.row], 0, -1).squeeze(), cmap="gray_r")
        ax.set_title(_caption(image, CLASSES[data]), fontsize=8)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("#D55E00" if image.flipped else "#808080")
        ax.spines[:].set_linewidth(4 if image.flipped else 0.6)
    for method, ax in zip(methods, axes[:, 0], strict=True):
        ax.set_ylabel(
            method.replace(", ", ",\n"), rotation=0, ha="right", va="center", fontsize=9
        )
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=100)


def _caption(image: Any, classes: list[str]) -> str:
    label, predicted = classes[image.label], classes[image.predicted]
    if label == predicted:
        return label
    # Long names go below each other.
    between = " → " if len(label) == 1 else "\n→ "
    return f"{label}{between}{predicted}"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seed", type=int, default=0, help="which split is shown")
    options.add_argument("--images", type=int, default=8, help="how many of each")
    options = options.parse_args()
    experiment = experiment_of(options)
    methods = [method for method in experiment.methods if method != RANDOM]
    table = found(experiment.scores(options.seed), methods, options.images)
    problem = experiment.problem
    share = f"{problem.flip:.0%} of the labels flipped (thick frames)"
    flipped = f", {share}" if problem.flip else ""
    stem = f"figure3_{problem.data}{'_flipped' if problem.flip else ''}"
    title = (
        f"{problem.title}{flipped}: the first to be removed (label → other prediction)"
    )
    options.output.mkdir(parents=True, exist_ok=True)
    plot(table, problem.data, title, options.output / f"{stem}.png")
    write_table(table, options.output / f"{stem}.csv")
    write_about(options.output / f"{stem}.json", **asdict(problem), split=options.seed)
    print(table.groupby("method", sort=False)["flipped"].mean().to_string())


if __name__ == "__main__":
    main()
