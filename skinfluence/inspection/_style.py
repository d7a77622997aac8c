"""Colours, units and checks that the displays share."""

from collections.abc import Callable
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from ..estimators import ScoresOverRuns, is_log_loss
from ._typing import Axes, Estimator, ManyAxes

# Okabe and Ito's colours are distinct for colour-blind readers, and visible on white
# and on black; the markers keep lines apart in greyscale, too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#808080")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HARMFUL, HELPFUL, OTHERS = "#D55E00", "#0072B2", "#808080"

NAMES_OF_QUERIES = {
    "loss": "validation loss",
    "error": "expected validation error",
    "balanced_loss": "balanced validation loss",
    "balanced_error": "balanced expected validation error",
    "corrected_error": "expected validation error corrected for label noise",
    "auc": "1 - AUC of the validation set",
    "average_precision": "1 - average precision of the validation set",
    "f1": "1 - F1 of the validation set",
    "log_loss": "validation log loss",
    "brier": "Brier score of the validation set",
    "calibration": "calibration error of the validation set",
    "worst_group": "validation loss of the worst group",
    "demographic_parity": "difference in positive rates of the groups",
    "equalized_odds": "difference in error rates of the groups",
    "r2": "1 - R² of the validation set",
    "quantile_loss": "validation quantile loss",
}
"""What a named query measures, in words."""

CHANGE = "change of the mean validation loss without the sample"


class Drawn(TypedDict):
    """The influence that a display shows, and its standard error, if it has one."""

    influence: np.ndarray
    standard_error: np.ndarray | None


def one_or_several(
    runs: ScoresOverRuns | None, estimate: Callable[[], np.ndarray]
) -> Drawn:
    """Return the mean over several runs, or else the estimate of one."""
    if runs is None:
        return {"influence": estimate(), "standard_error": None}
    if not isinstance(runs, ScoresOverRuns):
        raise TypeError(
            "`runs` must be what influence_over_runs returns, or None, got "
            f"{type(runs).__name__}."
        )
    return {"influence": runs.mean, "standard_error": runs.standard_error}


def in_brackets(unit: str) -> str:
    """Return a unit in brackets, to end a label."""
    return f" ({unit})" if unit else ""


def short_ticks(ax: Axes, axis: Literal["x", "y"]) -> None:
    """Give an axis few ticks, with a common power of ten."""
    ax.ticklabel_format(axis=axis, style="sci", scilimits=(-2, 3), useMathText=True)
    ax.locator_params(axis=axis, nbins=6)


def described(estimator: Estimator, query: object = "loss") -> dict[str, str]:
    """Return the meaning of an influence on a query, and its unit."""
    if query == "loss":
        return {"meaning": CHANGE, "unit": unit_of_loss(estimator)}
    unit = unit_of_loss(estimator) if query == "balanced_loss" else ""
    meaning = f"change of the {measure_in_words(query)} without the sample"
    return {"meaning": meaning, "unit": unit}


def measure_in_words(query: object) -> str:
    """Return what a query measures, by its name if it has one."""
    name = query if isinstance(query, str) else getattr(query, "name", "")
    return NAMES_OF_QUERIES.get(name, "query")


def unit_of_loss(estimator: Estimator) -> str:
    """Return the unit of an estimator's loss; none if it is unknown.

    A criterion may name its own, as the attribute `unit`.
    """
    criterion = getattr(estimator, "criterion_", None)
    if is_log_loss(criterion):
        return "nats"
    # Not of subclasses, which may scale the loss.
    return str(getattr(criterion, "unit", _UNITS.get(type(criterion), "")))


_UNITS: dict[type, str] = {
    nn.MSELoss: "squared target units",
    nn.L1Loss: "target units",
}


def check_row(name: str, values: ArrayLike, n_samples: int | None = None) -> np.ndarray:
    """Return one value for each sample, or raise an error."""
    array = np.asarray(values)
    if array.ndim != 1 or (n_samples is not None and len(array) != n_samples):
        wanted = "n_samples" if n_samples is None else n_samples
        raise ValueError(
            f"`{name}` must have shape ({wanted},), got {tuple(array.shape)}."
        )
    return array


def check_targets(name: str, values: ArrayLike, n_samples: int) -> np.ndarray:
    """Return a target, or a row of targets, for each sample, or raise an error."""
    array = np.asarray(values)
    several = array.ndim == 2 and len(array) == n_samples
    return array if several else check_row(name, array, n_samples)


def check_numbers(
    name: str, values: ArrayLike, n_samples: int | None = None
) -> np.ndarray:
    """Return one number for each sample, NaN allowed, or raise an error."""
    row = check_row(name, values, n_samples)
    try:
        return row.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be numbers, got {values!r:.200}.") from error


def check_errors(errors: ArrayLike | None, n_samples: int) -> np.ndarray:
    """Return a standard error for each sample, NaN where there is none."""
    if errors is None:
        return np.full(n_samples, np.nan)
    return check_numbers("standard_error", errors, n_samples)


def check_ax(ax: "Axes | None") -> None:
    """Refuse what nothing can be drawn on, before the work whose result is drawn."""
    if ax is not None and not hasattr(ax, "figure"):
        raise TypeError(f"`ax` must be matplotlib Axes or None, got {ax!r:.200}.")


def flat_axes(axes: ManyAxes, wanted: str) -> np.ndarray:
    """Return the given axes one after the other; refuse what is none."""
    flat: np.ndarray = np.asarray(axes, dtype=object).ravel()
    if not all(hasattr(ax, "figure") for ax in flat):
        raise TypeError(f"`axes` must be {wanted}, each an Axes, got {axes!r:.200}.")
    return flat


def two_axes(axes: ManyAxes) -> np.ndarray:
    """Return the given axes, or those of a new figure; refuse another number."""
    import matplotlib.pyplot as plt

    if axes is None:
        _, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    axes = flat_axes(axes, "two")
    if len(axes) != 2:
        raise ValueError(
            "`axes` must be two, for the distribution and for the losses, got "
            f"{len(axes)}."
        )
    return axes


def extremes(
    influence: np.ndarray, n_harmful: int, n_helpful: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the most harmful and of the most helpful samples.

    The most extreme come first. Unranked samples (NaN) are in neither, and no sample
    is in both.
    """
    order = np.argsort(influence, kind="stable")
    order = order[: np.count_nonzero(~np.isnan(influence))]
    harmful = order[:n_harmful]
    helpful = order[len(harmful) :][::-1][:n_helpful]
    return harmful, helpful
