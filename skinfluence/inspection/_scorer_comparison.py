"""Plot of scorers side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .._short_repr import short_repr
from ..cleaning import compare_scorers
from ._style import COLORS, MARKERS, flat_axes
from ._typing import Axes, ManyAxes

_BLUE, _GREY = COLORS[0], COLORS[-1]

# column of the comparison -> label of its panel
_PANELS = {
    "score": "test score after removal",
    "average_precision": "average precision of\nfinding bad samples",
    "tau": "rank correlation τ\nwith {first}",
    "seconds": "seconds",
}


class ScorerComparisonDisplay:
    """Comparison of scorers: score after removal, bad samples found, agreement, time.

    One row per scorer and one panel per measure; bars are standard errors over the
    seeds.

    Parameters
    ----------
    comparison : DataFrame
        The result of :func:`skinfluence.cleaning.compare_scorers`.

    Attributes
    ----------
    axes_ : dict of str to matplotlib Axes
        Column of the comparison -> its panel.
    figure_ : matplotlib Figure
        The figure.

    See Also
    --------
    skinfluence.cleaning.compare_scorers : Computes the comparison.
    CleaningCurveDisplay : Cross-validated scores of a few rankings.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.inspection import ScorerComparisonDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> display = ScorerComparisonDisplay.from_estimator(
    ...     SGDInfluenceClassifier(max_epochs=5),
    ...     X[::2],
    ...     y[::2],
    ...     X[1::2],
    ...     y[1::2],
    ...     ["influence", "loss"],
    ...     n_seeds=2,
    ...     random_state=0,
    ... )
    >>> list(display.axes_)
    ['tau', 'seconds']
    """

    def __init__(self, *, comparison: pd.DataFrame) -> None:
        self.comparison = comparison

    __repr__ = short_repr

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: object,
        y: ArrayLike,
        X_val: object,
        y_val: ArrayLike,
        scorers: Sequence[object] | Mapping[str, object],
        *,
        axes: ManyAxes = None,
        **options: Any,
    ) -> "ScorerComparisonDisplay":
        """Compare scorers, and plot the comparison.

        Parameters
        ----------
        estimator : estimator
            The estimator whose training data the scorers score.
        X : array-like or CSR matrix of shape (n_samples, ...)
            Training samples.
        y : array-like of shape (n_samples,)
            Their targets.
        X_val : array-like or CSR matrix of shape (n_val, ...)
            Validation samples.
        y_val : array-like of shape (n_val,)
            Their targets.
        scorers : sequence of scorers, or mapping of str to scorer
            The scorers.
        axes : sequence of matplotlib Axes or None, default=None
            Axes to draw on, one for each panel; a new figure by default.
        **options : dict
            Further arguments of :func:`skinfluence.cleaning.compare_scorers`.

        Returns
        -------
        ScorerComparisonDisplay
            The display, drawn.
        """
        comparison = compare_scorers(estimator, X, y, X_val, y_val, scorers, **options)
        return cls(comparison=comparison).plot(axes=axes)

    def plot(self, axes: ManyAxes = None) -> "ScorerComparisonDisplay":
        """Draw the comparison.

        Parameters
        ----------
        axes : sequence of matplotlib Axes or None, default=None
            Axes to draw on: one for each of the columns ``score``,
            ``average_precision``, ``tau`` and ``seconds`` that the comparison has; a
            new figure by default.

        Returns
        -------
        ScorerComparisonDisplay
            Itself.

        Raises
        ------
        ValueError
            If there are not as many axes as panels.
        """
        import matplotlib.pyplot as plt

        names = list(dict.fromkeys(self.comparison["scorer"]))
        panels = [column for column in _PANELS if column in self.comparison]
        if axes is None:
            _, axes = plt.subplots(
                1,
                len(panels),
                figsize=(2.4 + 2.4 * len(panels), 1.6 + 0.36 * len(names)),
                sharey=True,
                layout="constrained",
                squeeze=False,
            )
        axes = flat_axes(axes, f"one for each of {panels}")
        if len(axes) != len(panels):
            raise ValueError(
                f"`axes` must be one for each of {panels}, got {len(axes)} axes."
            )
        self.axes_, self.figure_ = dict(zip(panels, axes, strict=True)), axes[0].figure
        for column, ax in self.axes_.items():
            if column == "score":
                self._plot_scores(ax, names)
            else:
                self._plot_dots(ax, column, names)
            ax.set_xlabel(_PANELS[column].format(first=names[0]))
            ax.grid(axis="x", color="#e0e0e0", linewidth=0.8)
            ax.set_axisbelow(True)
            ax.spines[["top", "right"]].set_visible(False)
        axes[0].set_yticks(range(len(names)), names)
        axes[0].set_ylim(len(names) - 0.5, -0.5)
        return self

    def _plot_dots(self, ax: Axes, column: str, names: list[str]) -> None:
        # These measures do not depend on the count: any of a scorer's rows will do.
        table = self.comparison.drop_duplicates("scorer").set_index("scorer").loc[names]
        if column == "seconds":
            ax.set_xscale("log")
        _dots(ax, table, column, np.arange(len(names)), color=_BLUE, marker="o")

    def _plot_scores(self, ax: Axes, names: list[str]) -> None:
        """Plot the scores after removal, one dot for each count."""
        import matplotlib.pyplot as plt

        table = self.comparison
        counts = [count for count in table["n_removed"].unique() if count > 0]
        before = table.loc[table["n_removed"] == 0, "score"]
        if len(before):
            ax.axvline(before.iloc[0], color=_GREY, linewidth=1, label="0")
        # Side by side within a row, so that error bars do not overlap.
        shift = np.linspace(-0.25, 0.25, len(counts)) if len(counts) > 1 else [0.0]
        # Dark to light also in greyscale and for colour-blind readers.
        colors = plt.get_cmap("cividis")(np.linspace(0, 0.8, max(len(counts), 1)))
        for k, count in enumerate(counts):
            after = table[table["n_removed"] == count].set_index("scorer").loc[names]
            _dots(
                ax,
                after,
                "score",
                np.arange(len(names)) + shift[k],
                color=colors[k],
                marker=MARKERS[k % len(MARKERS)],
                label=f"{int(count)}",
            )
        ax.legend(
            title="removed",
            frameon=False,
            loc="lower center",
            ncols=len(counts) + 1,
            bbox_to_anchor=(0.5, 1.0),
            handletextpad=0.4,
            columnspacing=0.9,
        )


def _dots(
    ax: Axes, table: pd.DataFrame, column: str, places: np.ndarray, **style: Any
) -> None:
    error = table[f"{column}_se"].to_numpy()
    ax.errorbar(
        table[column].to_numpy(),
        places,
        xerr=None if np.isnan(error).all() else error,
        linestyle="none",
        markersize=5,
        capsize=2,
        **style,
    )
