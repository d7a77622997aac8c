"""Figure 2 of Hara, Nitanda and Maehara (2019): the error after removing images.

A network is trained on images of MNIST or CIFAR-10, the training images are ranked by
several methods, and the run is repeated without the first m of each ranking: the whole
run, or its last epoch. Over several splits into training and validation images, paired
t-tests compare the share of misclassified test images with that of the run with all
images. A second table gives the result if m is chosen in each split by the validation
images (the smallest of equal numbers; m = 0 may win).

With ``--flip 0.1`` a tenth of the training labels is wrong, and the share of wrong
labels among the first m is reported too.

The data are fetched from OpenML, or read from the folder that the environment variable
``SKINFLUENCE_DATA`` names. All results are kept in a folder, so that an interrupted run
can be resumed. Run it with ``python examples/paper/figure2.py
--quick --data mnist``, or with ``--full``, the paper's sizes, on a GPU.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cleansing import METHODS, NONE, OURS, RETRAIN, experiment_of, parser
from comparison import best, error_before, found, summary, validated
from files import write_about, write_table

LEVEL = 0.05  # of significance


def plot(curves: pd.DataFrame, title: str, path: Path) -> None:
    """Draw mean errors, a panel for each way of retraining, and what was found."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    table = summary(curves)
    none = 100 * error_before(curves).mean()
    ways = [how for how in RETRAIN if how in set(table["retrain"])]
    with_flips = table["precision"].any()
    n_panels = len(ways) + with_flips
    figure, axes = plt.subplots(
        1,
        n_panels,
        figsize=(max(1 + 4 * n_panels, 7), 4.8),
        squeeze=False,
        layout="constrained",
    )
    for ax, retrain in zip(axes[0], ways, strict=False):
        own = table[table["retrain"] == retrain]
        what = "all epochs" if retrain == "all" else "the last epoch"
        ax.axhline(none, color="black", linewidth=1, linestyle="--", label=NONE)
        _lines(ax, own, "error")
        ax.set(
            title=f"retrained: {what}",
            ylabel="misclassified test images (%)",
            ylim=_limits(table, none),
        )
    if with_flips:
        _lines(axes[0, -1], table[table["retrain"] == ways[0]], "precision")
        axes[0, -1].set(
            title="found",
            ylabel="wrong labels among the removed (%)",
            ylim=(0, 103),
        )
    figure.suptitle(title)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    columns = 4 if n_panels > 1 else 3
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False
    )
    figure.savefig(path, dpi=100)


def _lines(ax: Any, table: pd.DataFrame, column: str) -> None:
    """Draw a line for each method; marks are hollow where a test is not significant."""
    from skinfluence.inspection._style import COLORS, MARKERS

    for method, color, marker in zip(METHODS, COLORS, MARKERS, strict=True):
        own = table[table["method"] == method]
        if own.empty:
            continue
        ours = method in OURS
        (line,) = ax.plot(
            own["n_removed"],
            100 * own[column],
            color=color,
            marker=marker,
            linewidth=2 if ours else 1.3,
            linestyle="-" if ours else ":",
            zorder=3 if ours else 2,
            label=method,
        )
        unsure = own[own["p"] >= LEVEL] if column == "error" else own[:0]
        ax.plot(
            unsure["n_removed"],
            100 * unsure[column],
            color=color,
            marker=marker,
            markerfacecolor="white",
            linestyle="none",
            zorder=line.get_zorder(),
        )
    counts = sorted(table["n_removed"].unique())
    ax.set(xscale="log", xlabel="images removed")
    ax.set_xticks(counts, [f"{count:,}" for count in counts])
    ax.minorticks_off()
    ax.grid(color="#e0e0e0", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)


def _limits(table: pd.DataFrame, none: float) -> tuple[float, float]:
    """Return limits that show the gains: great losses leave the picture."""
    lowest, highest = 100 * table["error"].min(), 100 * table["error"].max()
    room = max(none - lowest, 0.02 * none)
    return lowest - 0.2 * room, min(none + 2 * room, max(none, highest) + 0.2 * room)


def main() -> None:
    options = parser(__doc__).parse_args()
    experiment = experiment_of(options)
    curves = experiment.curves()
    problem = experiment.problem
    flipped = f", {problem.flip:.0%} of the labels flipped" if problem.flip else ""
    title = (
        f"{problem.title}{flipped}\n"
        f"mean of {experiment.n_splits} splits, filled marks: p < {LEVEL}"
    )
    stem = f"figure2_{problem.data}{'_flipped' if problem.flip else ''}"
    options.output.mkdir(parents=True, exist_ok=True)
    tables = {
        "": curves,
        "_summary": summary(curves),
        "_best": best(curves),
        "_validated": validated(curves),
    }
    if problem.flip:
        tables["_found"] = found(curves)
    for suffix, table in tables.items():
        write_table(table, options.output / f"{stem}{suffix}.csv")
    plot(curves, title, options.output / f"{stem}.png")
    write_about(options.output / f"{stem}.json", **experiment.settings)
    print(f"{title}\n{NONE}: {error_before(curves).mean():.2%}")
    for suffix in ("_best", "_validated"):
        print(f"\n{suffix[1:]}\n{tables[suffix].to_string(index=False)}")


if __name__ == "__main__":
    main()
