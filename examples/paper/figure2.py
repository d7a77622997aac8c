"""Figure 2 of Hara, Nitanda and Maehara (2019): the error after removing images.

A network is trained on images of MNIST or CIFAR-10, the training images are ranked by
several methods, and the run is repeated without the first m of each ranking: the whole
run, or its last epoch. Over several splits into training and validation images, paired
t-tests compare the share of misclassified test images with that of the run with all
images. Beside the curves stands what comes out if m is chosen, in each split, by the
validation images (of equal numbers the smallest, and m = 0 may win).

With ``--flip 0.1`` a tenth of the training labels is wrong, and the share of wrong
labels among the first m is told as well.

The data are fetched from OpenML, or read from the folder that the environment variable
``SKINFLUENCE_DATA`` names. All that is computed is kept in a folder, so that a run that
is broken off goes on where it stopped. Run it with ``python examples/paper/figure2.py
--quick --data mnist``, or with ``--full``, the paper's sizes, on a GPU.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import ttest_rel

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cleansing import METHODS, NONE, OURS, RETRAIN, experiment_of, parser
from files import write_about, write_table

LEVEL = 0.05  # of significance
CURVE = ["method", "retrain"]


def summary(curves: pd.DataFrame) -> pd.DataFrame:
    """Return means over the splits, and paired t-tests against no removal."""
    before = curves[curves["method"] == NONE].set_index("seed")["test_error"]
    found = []
    for (method, retrain, count), own in curves[curves["method"] != NONE].groupby(
        [*CURVE, "n_removed"], sort=False
    ):
        after = own.set_index("seed")["test_error"]
        found.append(
            {
                "method": method,
                "retrain": retrain,
                "n_removed": count,
                **compared(after, before),
                "val_error": own["val_error"].mean(),
                "val_loss": own["val_loss"].mean(),
                "precision": own["precision"].mean(),
            }
        )
    return pd.DataFrame(found)


def compared(after: pd.Series, before: pd.Series) -> dict[str, float]:
    """Return an error's mean, its gain over another, and how sure the gain is."""
    gain = before.loc[after.index] - after
    # Without any difference there is nothing to test.
    p = ttest_rel(before.loc[after.index], after).pvalue if gain.any() else 1.0
    return {
        "error": after.mean(),
        "gain": gain.mean(),
        "gain_se": gain.std(ddof=1) / len(gain) ** 0.5,
        "n_better": int((gain > 0).sum()),
        "p": p,
    }


def chosen(curves: pd.DataFrame) -> pd.DataFrame:
    """Return each method's best number on the curve, and the one by validation.

    The first is the number with the lowest mean test error, the same for all splits;
    the second is that with the lowest validation error, for each split its own.
    """
    none = curves[curves["method"] == NONE]
    before = none.set_index("seed")["test_error"]
    rows: list[dict[str, Any]] = []
    for (method, retrain), own in curves[curves["method"] != NONE].groupby(
        CURVE, sort=False
    ):
        means = own.groupby("n_removed")["test_error"].mean()
        at_best = own[own["n_removed"] == means.idxmin()].set_index("seed")
        either = pd.concat([none, own]).sort_values(["val_error", "n_removed"])
        by_val = either.groupby("seed").first()
        curve = compared(at_best["test_error"], before)
        validated = compared(by_val["test_error"], before)
        rows.append(
            {
                "method": method,
                "retrained": retrain,
                "best m": means.idxmin(),
                **_readable(curve, len(before)),
                "m by validation (median)": f"{by_val['n_removed'].median():.0f}",
                **{
                    f"{name}, by validation": value
                    for name, value in _readable(validated, len(before)).items()
                },
            }
        )
    return pd.DataFrame(rows)


def _readable(comparison: dict[str, float], n_splits: int) -> dict[str, str]:
    """Return a comparison as a reader wants it, in percent."""
    gain, error = 100 * comparison["gain"], 100 * comparison["gain_se"]
    return {
        "error (%)": f"{100 * comparison['error']:.2f}",
        "gain (points)": f"{gain:+.2f} ± {error:.2f}".replace("-", "−"),
        "better in": f"{comparison['n_better']} of {n_splits}",
        "p": f"{comparison['p']:.2g}",
    }


def plot(curves: pd.DataFrame, title: str, path: Path) -> None:
    """Draw the mean errors, one panel for each way of retraining."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from skinfluence.inspection._style import COLORS, MARKERS

    table = summary(curves)
    none = 100 * curves.loc[curves["method"] == NONE, "test_error"].mean()
    styles = dict(zip(METHODS, zip(COLORS, MARKERS, strict=True), strict=True))
    figure, axes = plt.subplots(
        1, len(RETRAIN), figsize=(10, 4.8), sharey=True, layout="constrained"
    )
    for ax, retrain in zip(axes, RETRAIN, strict=True):
        ax.axhline(none, color="black", linewidth=1, linestyle="--", label=NONE)
        for method, own in table[table["retrain"] == retrain].groupby(
            "method", sort=False
        ):
            color, marker = styles[method]
            ours = method in OURS
            ax.plot(
                own["n_removed"],
                100 * own["error"],
                color=color,
                linewidth=2 if ours else 1.2,
                linestyle="-" if ours else ":",
                zorder=3 if ours else 2,
            )
            for sure, fill in ((True, color), (False, "white")):
                part = own[(own["p"] < LEVEL) == sure]
                ax.plot(
                    part["n_removed"],
                    100 * part["error"],
                    color=color,
                    marker=marker,
                    markerfacecolor=fill,
                    linestyle="none",
                    zorder=4,
                )
            ax.plot(
                [], [], color=color, marker=marker, label=method,
                linewidth=2 if ours else 1.2, linestyle="-" if ours else ":",
            )  # fmt: skip
        what = "all epochs" if retrain == "all" else "the last epoch"
        ax.set(xscale="log", xlabel="images removed", title=f"Retrained: {what}")
        ax.grid(color="#e0e0e0", linewidth=0.8)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set(ylabel="misclassified test images (%)", ylim=_limits(table, none))
    figure.suptitle(title)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=110)


def _limits(table: pd.DataFrame, none: float) -> tuple[float, float]:
    """Return limits that show the gains: great losses leave the picture."""
    lowest = 100 * table["error"].min()
    room = max(none - lowest, 0.02 * none)
    return lowest - 0.2 * room, none + 2 * room


def main() -> None:
    options = parser(__doc__).parse_args()
    experiment = experiment_of(options)
    curves = experiment.curves()
    problem = experiment.problem
    flipped = f", {problem.flip:.0%} of the labels flipped" if problem.flip else ""
    title = (
        f"{problem.data.upper()}, {problem.n_train:,} training images{flipped}: "
        f"mean of {experiment.n_splits} splits, filled where p < {LEVEL}"
    )
    stem = f"figure2_{problem.data}{'_flipped' if problem.flip else ''}"
    options.output.mkdir(parents=True, exist_ok=True)
    tables = {"": curves, "_summary": summary(curves), "_chosen": chosen(curves)}
    for suffix, table in tables.items():
        write_table(table, options.output / f"{stem}{suffix}.csv")
    plot(curves, title, options.output / f"{stem}.png")
    write_about(options.output / f"{stem}.json", **experiment.settings)
    none = curves.loc[curves["method"] == NONE, "test_error"].mean()
    print(f"{title}\n{NONE}: {none:.2%}\n")
    print(tables["_chosen"].to_string(index=False))


if __name__ == "__main__":
    main()
