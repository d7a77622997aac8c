"""Plot of where along training an option should have been lower or higher."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._short_repr import short_repr
from ..estimators import check_estimator
from ._style import (
    HARMFUL,
    HELPFUL,
    OTHERS,
    check_ax,
    check_numbers,
    in_brackets,
    short_ticks,
    unit_of_loss,
)
from ._typing import At, Axes, Estimator

_OPTIONS = ("learning_rate", "weight_decay", "momentum")


class RecipeDisplay:
    """Where along training an option should have been lower.

    A bar for each epoch: the derivative of the validation loss in the logarithm of the
    option, which is the change of the loss to first order if the option had been larger
    by its own size in this epoch. **Bars above 0: lower would have been better.**

    Parameters
    ----------
    slopes : array-like of shape (n_epochs,)
        The derivative in the option, as in
        :class:`~skinfluence.estimators.RecipeInfluence`.
    values : array-like of shape (n_epochs,)
        What the option was.
    option : str, default="learning_rate"
        Its name, for the axis.
    unit : str, default=""
        The unit of the query.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        The figure.
    bars_ : matplotlib BarContainer
        The bars.

    See Also
    --------
    TrajectoryDisplay : Shows how the influence of samples built up.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.inspection import RecipeDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> clf = SGDInfluenceClassifier(max_epochs=5, random_state=0).fit(X[::2], y[::2])
    >>> display = RecipeDisplay.from_estimator(clf, X[1::2], y[1::2])
    >>> len(display.bars_)
    5
    """

    def __init__(
        self,
        *,
        slopes: ArrayLike,
        values: ArrayLike,
        option: str = "learning_rate",
        unit: str = "",
    ) -> None:
        self.slopes = slopes
        self.values = values
        self.option = option
        self.unit = unit

    __repr__ = short_repr

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X_val: object,
        y_val: ArrayLike | None = None,
        *,
        option: str = "learning_rate",
        at: At = "final",
        ax: "Axes | None" = None,
        **options: Any,
    ) -> "RecipeDisplay":
        """Differentiate the validation loss in an option by epoch, and plot it.

        Parameters
        ----------
        estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
            A fitted estimator whose run was recorded.
        X_val : array-like
            Validation samples.
        y_val : array-like
            Their targets.
        option : "learning_rate", "weight_decay" or "momentum"
            Which option of the optimizer.
        at : "final", "epochs", "path", sequence or mapping, default="final"
            At which models the query is evaluated, as in
            :meth:`~skinfluence.SGDInfluenceClassifier.influence`.
        ax : matplotlib Axes or None, default=None
            Axes to draw on; a new figure by default.
        **options : dict
            Further arguments of
            :meth:`~skinfluence.SGDInfluenceClassifier.recipe_influence`.

        Returns
        -------
        RecipeDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the optimizer has no such option.
        """
        check_estimator(estimator)
        check_ax(ax)
        if option not in _OPTIONS:
            raise ValueError(f"`option` must be one of {_OPTIONS}, got {option!r}.")
        recipe = estimator.recipe_influence(X_val, y_val, at=at, **options)
        if option not in recipe.epochs:
            raise ValueError(
                f"`option` must be one that the optimizer has, {[*recipe.epochs]}, got "
                f"{option!r}."
            )
        of_loss = options.get("query", "loss") == "loss"
        return cls(
            slopes=recipe.epochs[option],
            values=recipe.options[option],
            option=option,
            unit=unit_of_loss(estimator) if of_loss else "",
        ).plot(ax=ax)

    def plot(self, ax: "Axes | None" = None) -> "RecipeDisplay":
        """Draw a bar for each epoch.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; a new figure by default.

        Returns
        -------
        RecipeDisplay
            Itself.

        Raises
        ------
        ValueError
            If the data is not as described.
        """
        import matplotlib.pyplot as plt

        slopes = check_numbers("slopes", self.slopes)
        values = check_numbers("values", self.values, len(slopes))
        check_ax(ax)
        if ax is None:
            _, ax = plt.subplots(figsize=(7, 4), layout="constrained")
        changes = slopes * values
        name = self.option.replace("_", " ")
        self.ax_, self.figure_ = ax, ax.figure
        self.bars_ = ax.bar(
            np.arange(1, len(changes) + 1),
            changes,
            color=np.where(changes > 0, HARMFUL, HELPFUL),
        )
        ax.axhline(0, color=OTHERS, linewidth=0.8)
        ax.set_xlabel("epoch of training")
        ax.set_ylabel(f"slope in the log of the {name}{in_brackets(self.unit)}")
        ax.set_title(
            f"above 0: a lower {name} would have been better",
            loc="left",
            fontsize="small",
        )
        short_ticks(ax, "y")
        ax.locator_params(axis="x", integer=True)
        ax.spines[["top", "right"]].set_visible(False)
        return self
