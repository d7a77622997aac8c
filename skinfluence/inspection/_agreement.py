"""Plot of estimated against true influence."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._short_repr import short_repr
from ..estimators import check_estimator
from ..metrics import kendall_tau
from ._style import check_ax
from ._typing import Axes, Estimator, RandomState


class AgreementDisplay:
    """Estimated against true influence, with the diagonal (the paper's Figure 1 [1]_).

    Parameters
    ----------
    estimated : array-like of shape (n_samples,)
        Influence of some training samples.
    exact : array-like of shape (n_samples,)
        The true change of the query without each of them.
    name : str, default="influence"
        Name of the estimate in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        The figure.
    points_ : matplotlib PathCollection
        The samples.
    diagonal_ : matplotlib Line2D
        Where estimate and truth are equal.

    See Also
    --------
    skinfluence.SGDInfluenceClassifier.check_influence : The same in numbers.

    References
    ----------
    .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained with
       SGD", NeurIPS 2019, Figure 1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.inspection import AgreementDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> clf = SGDInfluenceClassifier("linear", random_state=0).fit(X[::2], y[::2])
    >>> display = AgreementDisplay.from_estimator(
    ...     clf, X[1::2], y[1::2], n_samples=20, random_state=0
    ... )
    >>> display.estimated.shape
    (20,)
    """

    def __init__(
        self, *, estimated: ArrayLike, exact: ArrayLike, name: str = "influence"
    ) -> None:
        self.estimated = estimated
        self.exact = exact
        self.name = name

    __repr__ = short_repr

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X_val: object,
        y_val: ArrayLike | None = None,
        *,
        n_samples: int = 50,
        random_state: RandomState = None,
        name: str = "influence",
        ax: "Axes | None" = None,
        **options: Any,
    ) -> "AgreementDisplay":
        """Compute the true influence of randomly drawn samples, and plot it.

        Parameters
        ----------
        estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
            A fitted estimator whose run was recorded.
        X_val : array-like
            Validation samples.
        y_val : array-like
            Their targets.
        n_samples : int, default=50
            How many training samples to verify.
        random_state : int, RandomState instance or None, default=None
            Determines which samples are drawn.
        name : str, default="influence"
            Name of the estimate in the legend.
        ax : matplotlib Axes or None, default=None
            Axes to draw on; a new figure by default.
        **options : dict
            Further arguments of
            :meth:`~skinfluence.SGDInfluenceClassifier.check_influence`, such as ``at``.

        Returns
        -------
        AgreementDisplay
            The display, drawn.
        """
        check_estimator(estimator)
        check_ax(ax)
        # Groups are not shown.
        options = {"n_subsets": 0, **options}
        check = estimator.check_influence(
            X_val, y_val, n_samples, random_state=random_state, **options
        )
        display = cls(estimated=check.estimated, exact=check.exact, name=name)
        return display.plot(ax=ax)

    def plot(self, ax: "Axes | None" = None, **scatter: Any) -> "AgreementDisplay":
        """Plot the samples and the diagonal, with the correlations in the legend.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; a new figure by default.
        **scatter : dict
            Options of matplotlib's ``scatter``.

        Returns
        -------
        AgreementDisplay
            Itself.
        """
        import matplotlib.pyplot as plt

        check_ax(ax)
        if ax is None:
            _, ax = plt.subplots(figsize=(5, 5), layout="constrained")
        estimated, exact = (
            np.asarray(values, dtype=np.float64)
            for values in (self.estimated, self.exact)
        )
        style = {"s": 28, "alpha": 0.7, "linewidths": 0, "color": "#0072B2"}
        self.ax_, self.figure_ = ax, ax.figure
        # A line between two points would end at them: axline spans whatever the limits.
        self.diagonal_ = ax.axline(
            (0, 0), slope=1, color="#808080", linewidth=1, zorder=0, label="equal"
        )
        self.points_ = ax.scatter(
            exact,
            estimated,
            label=f"{self.name}{_correlations(estimated, exact)}",
            **{**style, **scatter},
        )
        ax.set_xlabel("true change without the sample")
        ax.set_ylabel("estimated change")
        # Few, short tick labels: side by side, the panels are narrow.
        ax.ticklabel_format(style="sci", scilimits=(0, 3), useMathText=True)
        ax.locator_params(nbins=6)
        ax.legend(frameon=False, loc="best")
        ax.spines[["top", "right"]].set_visible(False)
        return self


def _correlations(estimated: np.ndarray, exact: np.ndarray) -> str:
    # Neither correlation is defined for constant values.
    if np.ptp(estimated) == 0 or np.ptp(exact) == 0:
        return ""
    correlation = np.corrcoef(estimated, exact)[0, 1]
    return f": r = {correlation:.2f}, τ = {kendall_tau(estimated, exact):.2f}"
