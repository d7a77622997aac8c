"""Plot of how the influence of some samples built up during training."""

import textwrap
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._short_repr import short_repr
from ..estimators import check_estimator
from ._style import (
    CHANGE,
    COLORS,
    MARKERS,
    check_ax,
    check_row,
    check_targets,
    described,
    extremes,
    in_brackets,
    short_ticks,
)
from ._typing import At, Axes, Estimator

# One line for each colour; the last colour is that of the zero line.
_MOST_LINES = len(COLORS) - 1


class TrajectoryDisplay:
    """The influence of some training samples, accumulated over the epochs.

    A line starts at 0 and ends at the sample's influence; where it falls, training on
    the sample did harm. By default the three most harmful and the three most helpful
    samples are drawn.

    Parameters
    ----------
    contributions : array-like of shape (n_samples, n_epochs)
        Contribution of each epoch to the influence of each sample, as
        :meth:`~skinfluence.SGDInfluenceClassifier.influence_by_epoch` returns it.
    samples : array-like of int of shape (n_lines,) or None, default=None
        Which samples to draw, six at most; by default those with the lowest and the
        highest influence.
    labels : array-like of n_samples rows or None, default=None
        The labels or targets of the samples, for the legend.
    meaning : str, default="change of the mean validation loss without the sample"
        Description of the influence, for the axis.
    unit : str, default=""
        Its unit.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        The figure.
    lines_ : list of matplotlib Line2D
        One for each sample.
    rows_ : ndarray of int of shape (n_lines,)
        The samples drawn.

    See Also
    --------
    SampleGridDisplay : Shows the samples themselves.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.inspection import TrajectoryDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> clf = SGDInfluenceClassifier(max_epochs=5, random_state=0).fit(X[::2], y[::2])
    >>> display = TrajectoryDisplay.from_estimator(clf, X[1::2], y[1::2])
    >>> len(display.lines_)
    6
    """

    def __init__(
        self,
        *,
        contributions: ArrayLike,
        samples: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        meaning: str = CHANGE,
        unit: str = "",
    ) -> None:
        self.contributions = contributions
        self.samples = samples
        self.labels = labels
        self.meaning = meaning
        self.unit = unit

    __repr__ = short_repr

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X_val: object,
        y_val: ArrayLike | None = None,
        *,
        samples: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        at: At = "final",
        ax: "Axes | None" = None,
        **options: Any,
    ) -> "TrajectoryDisplay":
        """Estimate the influence of the training samples by epoch, and plot it.

        Parameters
        ----------
        estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
            A fitted estimator whose run was recorded.
        X_val : array-like
            Validation samples.
        y_val : array-like
            Their targets.
        samples : array-like of int of shape (n_lines,) or None, default=None
            Which training samples to draw; by default those with the lowest and the
            highest influence.
        labels : array-like of n_samples rows or None, default=None
            The labels or targets of the training samples, for the legend.
        at : "final", "epochs", "path", sequence or mapping, default="final"
            At which models the query is evaluated, as in
            :meth:`~skinfluence.SGDInfluenceClassifier.influence`.
        ax : matplotlib Axes or None, default=None
            Axes to draw on; a new figure by default.
        **options : dict
            Further arguments of
            :meth:`~skinfluence.SGDInfluenceClassifier.influence_by_epoch`.

        Returns
        -------
        TrajectoryDisplay
            The display, drawn.
        """
        check_estimator(estimator)
        check_ax(ax)
        display = cls(
            contributions=estimator.influence_by_epoch(X_val, y_val, at=at, **options),
            samples=samples,
            labels=labels,
            **described(estimator, options.get("query", "loss")),
        )
        return display.plot(ax=ax)

    def plot(self, ax: "Axes | None" = None) -> "TrajectoryDisplay":
        """Draw a line for each sample.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; a new figure by default.

        Returns
        -------
        TrajectoryDisplay
            Itself.

        Raises
        ------
        ValueError
            If the data is not as described.
        """
        import matplotlib.pyplot as plt

        parts = np.asarray(self.contributions, dtype=np.float64)
        if parts.ndim != 2:
            raise ValueError(
                "`contributions` must have shape (n_samples, n_epochs), got "
                f"{tuple(parts.shape)}."
            )
        self.rows_ = self._rows(parts.sum(axis=1))
        labels = self.labels
        if labels is not None:
            labels = check_targets("labels", labels, len(parts))
        legend: dict[str, Any] = {}
        check_ax(ax)
        if ax is None:
            _, ax = plt.subplots(figsize=(7, 4), layout="constrained")
            # Beside the lines: this layout makes room for it.
            legend = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
        self.ax_, self.figure_, self.lines_ = ax, ax.figure, []
        epochs = np.arange(parts.shape[1] + 1)
        for k, row in enumerate(self.rows_):
            so_far = np.concatenate([[0.0], np.cumsum(parts[row])])
            name = f"sample {row}"
            (line,) = ax.plot(
                epochs,
                so_far,
                label=name if labels is None else f"{name}: {labels[row]}",
                color=COLORS[k],
                marker=MARKERS[k],
                markersize=5,
                # A marker at every epoch would hide a long line.
                markevery=max(1, parts.shape[1] // 10),
            )
            self.lines_.append(line)
        ax.axhline(0, color=COLORS[-1], linewidth=0.8, zorder=0)
        ax.set_xlabel("epoch of training")
        ax.set_ylabel(f"influence up to the epoch{in_brackets(self.unit)}")
        # Above the axes, where it is not cut off in axes of any layout.
        ax.set_title(textwrap.fill(self.meaning, 60), loc="left", fontsize="small")
        short_ticks(ax, "y")
        ax.locator_params(axis="x", integer=True)
        ax.legend(frameon=False, **legend)
        ax.spines[["top", "right"]].set_visible(False)
        return self

    def _rows(self, influence: np.ndarray) -> np.ndarray:
        """Check and return the samples to draw."""
        if self.samples is None:
            rows: np.ndarray = np.concatenate(extremes(influence, 3, 3))
            return rows
        rows = check_row("samples", self.samples)
        n = len(influence)
        if (
            not np.issubdtype(rows.dtype, np.integer)
            or ((rows < 0) | (rows >= n)).any()
        ):
            raise ValueError(
                f"`samples` must be row numbers from 0 to {n - 1}, got {rows.tolist()}."
            )
        if not 1 <= len(rows) <= _MOST_LINES:
            raise ValueError(
                f"`samples` must be 1 to {_MOST_LINES} samples, one for each colour, "
                f"got {len(rows)}."
            )
        return rows
