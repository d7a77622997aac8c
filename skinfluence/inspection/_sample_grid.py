"""Plot of the most harmful and the most helpful samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from .._numbers import check_integer
from .._short_repr import short_repr
from ..cleaning import InfluenceCleaner, InfluenceCleanerCV
from ..estimators import ScoresOverRuns, check_fitted_on
from ..scorers import SGDInfluence
from ._sample_views import View, title_of, view_of
from ._style import (
    CHANGE,
    check_errors,
    check_numbers,
    check_targets,
    described,
    extremes,
    flat_axes,
    in_brackets,
    one_or_several,
)
from ._typing import At, Axes, Estimator, ManyAxes, Names, QueryLike


class SampleGridDisplay:
    """The most harmful and most helpful samples, with the model's predictions.

    Each is shown as an image, as text, or by its most unusual features, with its given
    label, its predicted label and its influence.

    Parameters
    ----------
    samples : array-like, tensor, DataFrame or sequence of str, of n_samples rows
        Images of shape (n_samples, height, width), with one or three channels before or
        after, or rows with an `image_shape`; texts; or a table, of which each sample
        shows the features with the largest absolute z-score. The z-score of a
        non-numeric value is that of its indicator: rare values are unusual.
    labels : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Their given labels or targets.
    predictions : array-like of the same shape or None
        A model's predictions for them; None to show none.
    influence : array-like of shape (n_samples,)
        Their influence, negative for harmful ones; samples without one (NaN) are not
        shown.
    standard_error : array-like of shape (n_samples,) or None, default=None
        Its standard error over several runs, shown behind it; NaN for none.
    n_harmful : int, default=10
        How many of the most harmful samples to show.
    n_helpful : int, default=0
        How many of the most helpful ones.
    image_shape : tuple of int or None, default=None
        Shape of the image that each row holds.
    feature_names : array-like of str of shape (n_features,) or None, default=None
        Names of a table's columns; by default a frame's own.
    n_features : int, default=5
        How many features of each row of a table to show.
    meaning : str, default="change of the mean validation loss without the sample"
        Description of the influence, for the heading.
    unit : str, default=""
        Its unit.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        One for each sample shown.
    figure_ : matplotlib Figure
        The figure.
    rows_ : ndarray of int
        The samples shown: the most harmful, then the most helpful, the most extreme
        of each first.

    See Also
    --------
    InfluenceDisplay : The influence of all samples.
    skinfluence.InfluenceCleaner : Removes the most harmful samples.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.inspection import SampleGridDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> X = X / 16
    >>> clf = SGDInfluenceClassifier(max_epochs=5, random_state=0).fit(X[:300], y[:300])
    >>> display = SampleGridDisplay.from_estimator(
    ...     clf, X[:300], y[:300], X[300:], y[300:], n_harmful=5, image_shape=(8, 8)
    ... )
    >>> display.rows_.shape
    (5,)
    """

    def __init__(
        self,
        *,
        samples: object,
        labels: ArrayLike,
        predictions: ArrayLike | None,
        influence: ArrayLike,
        standard_error: ArrayLike | None = None,
        n_harmful: int = 10,
        n_helpful: int = 0,
        image_shape: Sequence[int] | None = None,
        feature_names: Names = None,
        n_features: int = 5,
        meaning: str = CHANGE,
        unit: str = "",
    ) -> None:
        self.samples = samples
        self.labels = labels
        self.predictions = predictions
        self.influence = influence
        self.standard_error = standard_error
        self.n_harmful = n_harmful
        self.n_helpful = n_helpful
        self.image_shape = image_shape
        self.feature_names = feature_names
        self.n_features = n_features
        self.meaning = meaning
        self.unit = unit

    __repr__ = short_repr

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: object,
        y: ArrayLike,
        X_val: object,
        y_val: ArrayLike,
        *,
        samples: object = None,
        query: QueryLike = "loss",
        at: At = "final",
        last_epochs: int | None = None,
        runs: ScoresOverRuns | None = None,
        axes: ManyAxes = None,
        **shown: Any,
    ) -> "SampleGridDisplay":
        """Estimate the influence of the training samples, and show the extremes.

        Parameters
        ----------
        estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
            A fitted estimator whose run was recorded. It also predicts.
        X : array-like or tensor of n_samples rows
            The samples that it was fitted on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their labels or targets.
        X_val : array-like
            Validation samples.
        y_val : array-like
            Their targets.
        samples : array-like, tensor, DataFrame or sequence of str, or None
            What to show instead of X, row by row, such as the texts behind it.
        query : a named query or callable, default="loss"
            What is measured on the validation samples, as in
            :meth:`~skinfluence.SGDInfluenceClassifier.influence`.
        at : "final", "epochs", "path", sequence or mapping, default="final"
            At which models the query is evaluated, as in
            :meth:`~skinfluence.SGDInfluenceClassifier.influence`.
        last_epochs : int or None, default=None
            Retrace only the last epochs.
        runs : ScoresOverRuns or None, default=None
            The influence over several runs, as
            :func:`~skinfluence.influence_over_runs` returns it: their mean is shown,
            with its standard error, and nothing is estimated. By default the influence
            in the estimator's own run.
        axes : sequence of matplotlib Axes or None, default=None
            Axes to draw on, at least one for each sample; a new figure by default.
        **shown : dict
            Further parameters of the display, such as `n_helpful` and `image_shape`.

        Returns
        -------
        SampleGridDisplay
            The display, drawn.
        """
        check_fitted_on(estimator, X, y)
        display = cls(
            samples=X if samples is None else samples,
            labels=y,
            predictions=estimator.predict(X),
            **one_or_several(
                runs,
                lambda: estimator.influence(
                    X_val, y_val, query=query, at=at, last_epochs=last_epochs
                ),
            ),
            **{**described(estimator, query), **shown},
        )
        return display.plot(axes=axes)

    @classmethod
    def from_cleaner(
        cls,
        cleaner: InfluenceCleaner | InfluenceCleanerCV,
        X: object,
        *,
        axes: ManyAxes = None,
        **shown: Any,
    ) -> "SampleGridDisplay":
        """Show the samples with a cleaner's lowest scores, its `influence_`.

        It removes them in the order of its `ranking_`, which is another one where it
        also asks how probable the labels are to be right.

        Parameters
        ----------
        cleaner : InfluenceCleaner or InfluenceCleanerCV
            A fitted cleaner: the labels are those it was fitted on, the predictions
            those of its cleaned model.
        X : array-like, tensor, DataFrame or sequence of str, of n_samples rows
            What to show: the data the cleaner was fitted on, or its raw form, row by
            row.
        axes : sequence of matplotlib Axes or None, default=None
            Axes to draw on, at least one for each sample; a new figure by default.
        **shown : dict
            Further parameters of the display, such as `n_helpful` and `image_shape`.

        Returns
        -------
        SampleGridDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the cleaner applied decisions instead of ranking.
        """
        check_is_fitted(cleaner)
        if not hasattr(cleaner, "query_"):
            raise ValueError(
                "`cleaner` must have ranked the samples, but it applied `decisions`, "
                "and its `influence_` is NaN. Its `to_frame` tells what was done to "
                "which; show the estimator that was reviewed (from_estimator), or fit "
                "a cleaner without `decisions`."
            )
        # to_frame sorts by rank; the other arrays are in the order of the data.
        table = cleaner.to_frame().iloc[np.argsort(cleaner.ranking_)]
        predicts = hasattr(cleaner, "final_estimator_")
        display = cls(
            samples=X,
            labels=_columns(table, "label"),
            predictions=_columns(table, "prediction") if predicts else None,
            influence=cleaner.influence_,
            standard_error=cleaner.standard_error_,
            **{**_scored(cleaner), **shown},
        )
        return display.plot(axes=axes)

    def plot(self, axes: ManyAxes = None) -> "SampleGridDisplay":
        """Draw the samples, each with given and predicted label and influence.

        Parameters
        ----------
        axes : sequence of matplotlib Axes or None, default=None
            Axes to draw on, at least one for each sample; a new figure by default.

        Returns
        -------
        SampleGridDisplay
            Itself.

        Raises
        ------
        ValueError
            If the data is not as described, or there are too few axes.
        """
        influence = check_numbers("influence", self.influence)
        labels = check_targets("labels", self.labels, len(influence))
        predictions = self.predictions
        if predictions is not None:
            predictions = check_targets("predictions", predictions, len(influence))
        errors = check_errors(self.standard_error, len(influence))
        n_harmful = check_integer("n_harmful", self.n_harmful)
        n_helpful = check_integer("n_helpful", self.n_helpful)
        n_features = check_integer("n_features", self.n_features, 1)
        view = view_of(self.samples, self.image_shape, self.feature_names, n_features)
        if len(view) != len(influence):
            raise ValueError(
                f"`samples` must have {len(influence)} rows, one for each influence, "
                f"got {len(view)}."
            )
        ends = extremes(influence, n_harmful, n_helpful)
        self.rows_ = np.concatenate(ends)
        if len(self.rows_) == 0:
            raise ValueError(
                "`n_harmful` and `n_helpful` must show at least one sample, got none."
            )
        if axes is None:
            axes = self._new_axes(view, ends)
        axes = flat_axes(axes, f"at least {len(self.rows_)}")
        if len(axes) < len(self.rows_):
            raise ValueError(
                f"`axes` must be at least {len(self.rows_)}, one for each sample, got "
                f"{len(axes)}."
            )
        self.axes_ = axes[: len(self.rows_)]
        # The figure of the axes may be a subfigure, whose own figure is the whole one.
        self.figure_ = axes[0].figure.figure
        for ax, row in zip(self.axes_, self.rows_, strict=True):
            view.draw(ax, row)
            title = title_of(labels, predictions, influence, errors, row)
            ax.set_title(title, fontsize=10, parse_math=False)
        return self

    def _new_axes(self, view: View, ends: Sequence[np.ndarray]) -> list[Axes]:
        """Return axes in a new figure: a grid for each end, under its heading."""
        import matplotlib.pyplot as plt

        names = ("Most harmful", "Most helpful")
        grids = [
            (name, len(rows))
            for name, rows in zip(names, ends, strict=True)
            if len(rows)
        ]
        n_columns = view.n_columns
        heights = [-(-n // n_columns) * view.size[1] + 0.8 for _, n in grids]
        width = n_columns * view.size[0]
        figure = plt.figure(figsize=(width, sum(heights)), layout="constrained")
        parts = figure.subfigures(len(grids), 1, height_ratios=heights, squeeze=False)
        axes: list[Axes] = []
        for part, (name, n) in zip(parts[:, 0], grids, strict=True):
            heading = f"{name} samples: {self._heading(view)}"
            part.suptitle(heading, x=0.01, ha="left", fontsize=11)
            cells = part.subplots(-(-n // n_columns), n_columns, squeeze=False).ravel()
            for empty in cells[n:]:
                empty.set_axis_off()
            axes.extend(cells[:n])
        return axes

    def _heading(self, view: View) -> str:
        """Return the legend of the samples' titles."""
        # Floats count as targets: labels are rarely floats.
        fractions = np.issubdtype(np.asarray(self.labels).dtype, np.floating)
        label = "target" if fractions else "label"
        if self.predictions is not None:
            label = f"given → predicted {label}"
        meaning = f"{self.meaning}{in_brackets(self.unit)}"
        return ",\n".join(filter(None, [label, meaning, view.heading]))


def _scored(cleaner: InfluenceCleaner | InfluenceCleanerCV) -> dict[str, str]:
    """Return what a cleaner's scores mean, and their unit."""
    if not (cleaner.scorer == "influence" or isinstance(cleaner.scorer, SGDInfluence)):
        return {"meaning": "score (the lowest are removed first)"}
    scored = described(cleaner.estimator_, cleaner.query_)
    if cleaner.action == "relabel":
        change = scored["meaning"].removesuffix(" without the sample")
        scored["meaning"] = f"lowest {change} under any label"
    return scored


def _columns(table: pd.DataFrame, name: str) -> np.ndarray:
    """Return the targets of that name in a cleaner's table; several have a number."""
    if name in table:
        return np.asarray(table[name])
    return table[[c for c in table if str(c).rpartition("_")[0] == name]].to_numpy()
