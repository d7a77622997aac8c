"""Plot of single samples, each beside the training samples behind its prediction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .._numbers import check_integer
from .._short_repr import short_repr
from ..estimators import check_fitted_on
from ._sample_views import signed, view_of, written
from ._style import CHANGE, HARMFUL, HELPFUL, described, flat_axes, in_brackets
from ._typing import At, Estimator, ManyAxes, Names, QueryLike

_COLUMNS = ("sample", "effect", "rank", "row", "label", "influence")


class ExplanationDisplay:
    """Samples, each with the training samples that made its prediction what it is.

    A row of the plot is a sample with its right and its predicted label, then the
    training samples that harm it most, and those that help it most, with their labels
    and their influence on this sample alone.

    Parameters
    ----------
    explanation : DataFrame
        What :meth:`~skinfluence.SGDInfluenceClassifier.explain` returns.
    samples : array-like, tensor, DataFrame or sequence of str
        The explained samples: images, texts or a table, as for
        :class:`SampleGridDisplay`.
    labels : array-like of shape (n,)
        Their right labels or targets.
    predictions : array-like of shape (n,)
        A model's predictions for them.
    training_samples : array-like, tensor, DataFrame or sequence of str
        The training samples, in the same form.
    image_shape : tuple of int or None, default=None
        Shape of the image that each row holds.
    feature_names : array-like of str of shape (n_features,) or None, default=None
        Names of a table's columns; by default a frame's own.
    n_features : int, default=5
        How many features of each row of a table to show: those that are most unusual
        among `samples`, or among `training_samples`.
    meaning : str, default="change of the mean validation loss without the sample"
        Description of the influence, for the heading.
    unit : str, default=""
        Its unit.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, of shape (n, 1 + most neighbours)
        The axes of each sample and its neighbours.
    figure_ : matplotlib Figure
        The figure.

    See Also
    --------
    SampleGridDisplay : The samples that matter most for all validation data.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.inspection import ExplanationDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> X = X / 16
    >>> clf = SGDInfluenceClassifier(max_epochs=5, random_state=0).fit(X[:300], y[:300])
    >>> display = ExplanationDisplay.from_estimator(
    ...     clf, X[:300], y[:300], X[300:302], y[300:302], image_shape=(8, 8)
    ... )
    >>> display.axes_.shape
    (2, 7)
    """

    def __init__(
        self,
        *,
        explanation: pd.DataFrame,
        samples: object,
        labels: ArrayLike,
        predictions: ArrayLike,
        training_samples: object,
        image_shape: Sequence[int] | None = None,
        feature_names: Names = None,
        n_features: int = 5,
        meaning: str = CHANGE,
        unit: str = "",
    ) -> None:
        self.explanation = explanation
        self.samples = samples
        self.labels = labels
        self.predictions = predictions
        self.training_samples = training_samples
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
        training_samples: object = None,
        n_harmful: int = 3,
        n_helpful: int = 3,
        query: QueryLike = "loss",
        at: At = "final",
        last_epochs: int | None = None,
        axes: ManyAxes = None,
        **shown: Any,
    ) -> "ExplanationDisplay":
        """Explain predictions, and draw them.

        Parameters
        ----------
        estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
            A fitted estimator whose run was recorded.
        X : array-like or tensor of n_samples rows
            The samples that it was fitted on.
        y : array-like of shape (n_samples,)
            Their labels or targets.
        X_val : array-like
            The samples to explain, such as wrong predictions.
        y_val : array-like
            Their right labels or targets.
        samples : array-like, tensor, DataFrame or sequence of str, or None
            What to show instead of X_val, row by row, such as the texts behind it.
        training_samples : array-like, tensor, DataFrame or sequence of str, or None
            What to show instead of X.
        n_harmful, n_helpful : int, default=3
            How many training samples to show for each.
        query : a named query or callable, default="loss"
            As in :meth:`~skinfluence.SGDInfluenceClassifier.explain`.
        at : "final", "epochs", "path", sequence or mapping, default="final"
            As in :meth:`~skinfluence.SGDInfluenceClassifier.influence`.
        last_epochs : int or None, default=None
            Retrace only the last epochs.
        axes : matplotlib Axes of the shape of `axes_`, or None, default=None
            Axes to draw on; a new figure by default.
        **shown : dict
            Further parameters of the display, such as `image_shape`.

        Returns
        -------
        ExplanationDisplay
            The display, drawn.
        """
        check_fitted_on(estimator, X, y)
        found = estimator.explain(
            X_val,
            y_val,
            n_harmful=n_harmful,
            n_helpful=n_helpful,
            query=query,
            at=at,
            last_epochs=last_epochs,
        )
        words = described(estimator, query)
        words["meaning"] = words["meaning"].replace("mean validation loss", "loss")
        display = cls(
            explanation=found,
            samples=X_val if samples is None else samples,
            labels=y_val,
            predictions=estimator.predict(X_val),
            training_samples=X if training_samples is None else training_samples,
            **{**words, **shown},
        )
        return display.plot(axes=axes)

    def plot(self, axes: ManyAxes = None) -> "ExplanationDisplay":
        """Draw each sample beside its neighbours.

        Parameters
        ----------
        axes : matplotlib Axes of the shape of `axes_`, or None, default=None
            Axes to draw on; a new figure by default.

        Returns
        -------
        ExplanationDisplay
            Itself.

        Raises
        ------
        ValueError
            If the data is not as described, or there are too few axes.
        """
        table = self.explanation
        if not {*_COLUMNS} <= {*getattr(table, "columns", ())}:
            raise ValueError(
                "`explanation` must be what `explain` returns, with the columns "
                f"{', '.join(_COLUMNS)}, got {table!r:.200}."
            )
        n_features = check_integer("n_features", self.n_features, 1)
        own, training = (
            view_of(each, self.image_shape, self.feature_names, n_features, name)
            for each, name in (
                (self.samples, "samples"),
                (self.training_samples, "training_samples"),
            )
        )
        labels, predictions = np.asarray(self.labels), np.asarray(self.predictions)
        for name, n in (("labels", len(labels)), ("predictions", len(predictions))):
            if n != len(own):
                raise ValueError(
                    f"`{name}` must have one value for each of the {len(own)} samples, "
                    f"got {n}."
                )
        n_columns = 1 + int(table.groupby("sample").size().max() if len(table) else 0)
        if axes is None:
            axes = self._new_axes(len(own), n_columns, own.size)
        flat = flat_axes(axes, f"{len(own)} times {n_columns}")
        if len(flat) != len(own) * n_columns:
            raise ValueError(
                f"`axes` must be {len(own)} times {n_columns}, one for each sample and "
                f"each of its neighbours, got {len(flat)}."
            )
        self.axes_ = flat.reshape(len(own), n_columns)
        self.figure_ = flat[0].figure.figure
        for sample, (first, *others) in enumerate(self.axes_):
            own.draw(first, sample)
            names = f"{written(labels[sample])} → {written(predictions[sample])}"
            first.set_title(names, fontsize=10, parse_math=False, fontweight="bold")
            rows = table[table["sample"] == sample].to_dict("records")
            for ax, row in zip(others, rows, strict=False):
                training.draw(ax, row["row"])
                color = HARMFUL if row["effect"] == "harmful" else HELPFUL
                ax.spines[:].set(color=color, linewidth=2)
                title = f"{written(row['label'])}\n{signed(row['influence'])}"
                ax.set_title(title, fontsize=10, parse_math=False)
            for ax in others[len(rows) :]:
                ax.set_axis_off()
        return self

    def _new_axes(
        self, n_rows: int, n_columns: int, size: tuple[float, float]
    ) -> ManyAxes:
        import matplotlib.pyplot as plt

        figsize = (n_columns * size[0], n_rows * size[1] + 0.8)
        figure, axes = plt.subplots(
            n_rows, n_columns, figsize=figsize, squeeze=False, layout="constrained"
        )
        figure.suptitle(
            "Right → predicted; then the training samples that harm (orange) and help "
            f"(blue) it most:\nlabel, {self.meaning}{in_brackets(self.unit)}",
            x=0.01,
            ha="left",
            fontsize=11,
        )
        return axes
