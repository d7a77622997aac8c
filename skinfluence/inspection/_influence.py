"""Plot of the influence of all samples: its distribution, and against the loss."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._numbers import check_integer
from .._short_repr import short_repr
from ..estimators import ScoresOverRuns, check_estimator
from ..metrics import kendall_tau
from ..scorers import Loss
from ._style import (
    CHANGE,
    HARMFUL,
    HELPFUL,
    OTHERS,
    check_errors,
    check_numbers,
    check_row,
    described,
    extremes,
    in_brackets,
    one_or_several,
    short_ticks,
    two_axes,
)
from ._typing import At, Axes, Estimator, ManyAxes


class InfluenceDisplay:
    """The influence of the training samples: its distribution, and against their loss.

    On the left a histogram of the influence, with the most harmful and most helpful
    samples marked; on the right each sample's influence against its own training loss:
    a sample can be hard to fit without being harmful, and harmful without being hard
    to fit.

    Parameters
    ----------
    influence : array-like of shape (n_samples,)
        Influence of the training samples, negative for harmful ones; samples that
        have none (NaN) are not drawn.
    losses : array-like of shape (n_samples,)
        Loss of each of them under the final model.
    standard_error : array-like of shape (n_samples,) or None, default=None
        Standard error of the influence over several runs, drawn as bars at the marked
        samples; NaN for none.
    truth : array-like of shape (n_samples,), bool, or None, default=None
        Mask of the samples known to be bad, such as
        :func:`~skinfluence.datasets.flip_labels` returns; they are circled.
    n_marked : int, default=20
        How many samples to mark at each end.
    meaning : str, default="change of the mean validation loss without the sample"
        Description of the influence, for the axis.
    unit : str, default=""
        Its unit, and that of the losses.

    Attributes
    ----------
    axes_ : dict of str to matplotlib Axes
        The panels ``"distribution"`` and ``"loss"``.
    figure_ : matplotlib Figure
        The figure.
    points_ : dict of str to matplotlib PathCollection
        The samples on the right: ``"harmful"``, ``"helpful"``, ``"others"`` and, with
        `truth`, ``"truth"``, the rings.
    errors_ : list of matplotlib ErrorbarContainer
        The standard errors of the marked samples, those of the harmful ones first.

    See Also
    --------
    SampleGridDisplay : Shows the samples themselves.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.inspection import InfluenceDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X[::2], y[::2])
    >>> display = InfluenceDisplay.from_estimator(clf, X[1::2], y[1::2], n_marked=5)
    >>> list(display.axes_)
    ['distribution', 'loss']
    """

    def __init__(
        self,
        *,
        influence: ArrayLike,
        losses: ArrayLike,
        standard_error: ArrayLike | None = None,
        truth: ArrayLike | None = None,
        n_marked: int = 20,
        meaning: str = CHANGE,
        unit: str = "",
    ) -> None:
        self.influence = influence
        self.losses = losses
        self.standard_error = standard_error
        self.truth = truth
        self.n_marked = n_marked
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
        at: At = "final",
        runs: ScoresOverRuns | None = None,
        truth: ArrayLike | None = None,
        n_marked: int = 20,
        axes: ManyAxes = None,
        **options: Any,
    ) -> "InfluenceDisplay":
        """Estimate the influence of the training samples, and plot it.

        Parameters
        ----------
        estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
            A fitted estimator whose run was recorded, in one call of ``fit``.
        X_val : array-like
            Validation samples.
        y_val : array-like
            Their targets.
        at : "final", "epochs", "path", sequence or mapping, default="final"
            At which models the query is evaluated, as in
            :meth:`~skinfluence.SGDInfluenceClassifier.influence`.
        runs : ScoresOverRuns or None, default=None
            The influence over several runs, as
            :func:`~skinfluence.influence_over_runs` returns it: their mean is drawn,
            with its standard error, and nothing is estimated. By default the influence
            in the estimator's own run.
        truth : array-like of shape (n_samples,), bool, or None, default=None
            Which training samples are known to be bad.
        n_marked : int, default=20
            How many samples to mark at each end.
        axes : sequence of two matplotlib Axes or None, default=None
            Axes to draw on; a new figure by default.
        **options : dict
            Further arguments of
            :meth:`~skinfluence.SGDInfluenceClassifier.influence`, such as
            ``last_epochs``.

        Returns
        -------
        InfluenceDisplay
            The display, drawn.
        """
        check_integer("n_marked", n_marked)
        check_estimator(estimator)
        display = cls(
            **one_or_several(
                runs, lambda: estimator.influence(X_val, y_val, at=at, **options)
            ),
            losses=-Loss()(estimator, None, None),
            truth=truth,
            n_marked=n_marked,
            **described(estimator, options.get("query", "loss")),
        )
        return display.plot(axes=axes)

    def plot(self, axes: ManyAxes = None) -> "InfluenceDisplay":
        """Draw both panels.

        Parameters
        ----------
        axes : sequence of two matplotlib Axes or None, default=None
            Axes to draw on; a new figure by default.

        Returns
        -------
        InfluenceDisplay
            Itself.

        Raises
        ------
        ValueError
            If the data is not as described, or there are not two axes.
        """
        influence = check_numbers("influence", self.influence)
        losses = check_numbers("losses", self.losses, len(influence))
        errors = check_errors(self.standard_error, len(influence))
        truth = np.zeros(len(influence), dtype=bool)
        if self.truth is not None:
            truth = check_row("truth", self.truth, len(influence)).astype(bool)
        n_marked = check_integer("n_marked", self.n_marked)
        ranked = ~np.isnan(influence)
        if not ranked.any():
            raise ValueError(
                "`influence` must be a number for at least one sample, got only NaN."
            )
        influence, losses, truth = influence[ranked], losses[ranked], truth[ranked]
        errors = errors[ranked]
        axes = two_axes(axes)
        self.axes_ = dict(zip(("distribution", "loss"), axes, strict=True))
        self.figure_ = axes[0].figure
        # At most half of the samples at each end, so that neither end takes them all.
        n_marked = min(n_marked, len(influence) // 2)
        ends = extremes(influence, n_marked, n_marked)
        self._plot_distribution(influence, truth, *ends)
        self._plot_losses(influence, losses, truth, *ends)
        self._plot_errors(influence, losses, errors, *ends)
        for ax in axes:
            ax.spines[["top", "right"]].set_visible(False)
        return self

    def _plot_distribution(
        self,
        influence: np.ndarray,
        truth: np.ndarray,
        harmful: np.ndarray,
        helpful: np.ndarray,
    ) -> None:
        import matplotlib.pyplot as plt

        ax = self.axes_["distribution"]
        edges = _edges(influence)
        label = f"all samples ({len(influence)})"
        ax.hist(influence, edges, color=OTHERS, alpha=0.75, label=label)
        if truth.any():
            ax.hist(
                influence[truth],
                edges,
                histtype="step",
                color=plt.rcParams["text.color"],
                linewidth=1.5,
                label=f"known to be bad ({truth.sum()})",
            )
        if len(harmful):
            bounds = edges[0], influence[harmful].max()
            label = f"{len(harmful)} most harmful"
            ax.axvspan(*bounds, color=HARMFUL, alpha=0.4, linewidth=0, label=label)
            bounds = influence[helpful].min(), edges[-1]
            label = f"{len(helpful)} most helpful"
            ax.axvspan(*bounds, color=HELPFUL, alpha=0.4, linewidth=0, label=label)
        ax.axvline(0, color=plt.rcParams["text.color"], linewidth=0.8)
        # A log scale shows the few samples in the tails beside the many in the middle.
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.7)
        meaning = f"{self.meaning}{in_brackets(self.unit)}"
        ax.set_xlabel(f"← harmful      influence      helpful →\n{meaning}")
        ax.set_ylabel("training samples")
        short_ticks(ax, "x")
        _legend_above(ax)

    def _plot_errors(
        self,
        influence: np.ndarray,
        losses: np.ndarray,
        errors: np.ndarray,
        *ends: np.ndarray,
    ) -> None:
        """Draw the standard errors of the marked samples that have one."""
        self.errors_ = []
        for rows, color in zip(ends, (HARMFUL, HELPFUL), strict=True):
            known = rows[~np.isnan(errors[rows])]
            if not len(known):
                continue
            bars = self.axes_["loss"].errorbar(
                losses[known],
                influence[known],
                yerr=errors[known],
                fmt="none",
                ecolor=color,
                elinewidth=0.8,
            )
            self.errors_.append(bars)

    def _plot_losses(
        self,
        influence: np.ndarray,
        losses: np.ndarray,
        truth: np.ndarray,
        harmful: np.ndarray,
        helpful: np.ndarray,
    ) -> None:
        import matplotlib.pyplot as plt

        ax, self.points_ = self.axes_["loss"], {}
        others = np.setdiff1d(np.arange(len(influence)), np.r_[harmful, helpful])
        # name -> its samples, colour, mark and size
        groups = {
            "others": (others, OTHERS, "o", 14),
            "harmful": (harmful, HARMFUL, "v", 44),
            "helpful": (helpful, HELPFUL, "^", 44),
        }
        for name, (rows, color, marker, size) in groups.items():
            self.points_[name] = ax.scatter(
                losses[rows],
                influence[rows],
                s=size,
                c=color,
                marker=marker,
                alpha=0.7 if name == "others" else 1,
                linewidths=0,
                label="others" if name == "others" else f"{len(rows)} most {name}",
            )
        if truth.any():
            self.points_["truth"] = ax.scatter(
                losses[truth],
                influence[truth],
                s=70,
                facecolors="none",
                edgecolors=plt.rcParams["text.color"],
                linewidths=0.8,
                label="known to be bad",
            )
        ax.axhline(0, color=plt.rcParams["text.color"], linewidth=0.8, zorder=0)
        # Losses of a well-fitted model differ by orders of magnitude.
        if losses.min() > 0 and losses.max() > 100 * losses.min():
            ax.set_xscale("log")
        else:
            ax.locator_params(axis="x", nbins=6)
        unit = in_brackets(self.unit)
        tau = _tau(influence, losses)
        ax.set_xlabel(f"training loss of the sample, final model{unit}{tau}")
        ax.set_ylabel(f"influence{unit}")
        short_ticks(ax, "y")
        _legend_above(ax)


def _edges(influence: np.ndarray, n_bins: int = 50) -> np.ndarray:
    """Return edges of equal bins; 0 is one, since it separates harmful from helpful."""
    low, high = min(influence.min(), 0), max(influence.max(), 0)
    if low == high:
        return np.array([-1.0, 0.0, 1.0])
    width = (high - low) / n_bins
    edges = width * np.arange(np.floor(low / width), np.ceil(high / width) + 1)
    # Rounding must not leave a sample outside.
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)
    return edges


def _tau(influence: np.ndarray, losses: np.ndarray) -> str:
    if np.ptp(influence) == 0 or np.ptp(losses) == 0:
        return ""
    # Negated: the lower the influence, the greater the harm.
    tau = kendall_tau(-influence, losses)
    return f"\nrank correlation of harm and loss: τ = {tau:.2f}".replace("-", "−")


def _legend_above(ax: Axes) -> None:
    """Put the legend above the axis and its power of ten, where it hides no sample."""
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1.04), ncols=2)
