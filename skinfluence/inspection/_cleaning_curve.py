"""Plot of the score against the number of removed samples."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, is_classifier, is_regressor

from .._short_repr import short_repr
from .._values import check_list
from ..cleaning import InfluenceCleanerCV
from ..scorers import named_scorers
from ._style import COLORS, MARKERS, check_ax
from ._typing import Axes, RandomState


class CleaningCurveDisplay:
    """Cross-validated score against the number of removed samples.

    Parameters
    ----------
    n_removes : array-like of shape (n_counts,)
        How many samples were removed: counts, or fractions of the samples.
    scores : mapping of str to array-like of shape (n_folds, n_counts)
        Name of a ranking -> test scores after removal.
    score_name : str, default="score"
        Name of the score, for the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        The figure.
    lines_ : list of matplotlib ErrorbarContainer
        One for each ranking.

    See Also
    --------
    skinfluence.InfluenceCleanerCV : Computes the scores of one ranking.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence.inspection import CleaningCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> display = CleaningCurveDisplay.from_estimator(
    ...     None, scale(X), y, scorers=["influence", "random"], n_removes=[0, 10], cv=2
    ... )
    >>> display.scores["random"].shape
    (2, 2)
    """

    def __init__(
        self,
        *,
        n_removes: Sequence[float],
        scores: Mapping[str, Any],
        score_name: str = "score",
    ) -> None:
        self.n_removes = n_removes
        self.scores = scores
        self.score_name = score_name

    __repr__ = short_repr

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator | None,
        X: object,
        y: ArrayLike,
        *,
        X_val: object = None,
        y_val: ArrayLike | None = None,
        scorers: Sequence[object] | Mapping[str, object] = ("influence",),
        n_removes: Sequence[float] = (0, 0.025, 0.05, 0.1, 0.2, 0.3),
        cv: object = 5,
        scoring: str | Callable[..., float] | None = None,
        n_jobs: int | None = None,
        random_state: RandomState = None,
        ax: "Axes | None" = None,
        **cleaner: Any,
    ) -> "CleaningCurveDisplay":
        """Clean in every fold with every ranking, and draw the scores.

        Parameters
        ----------
        estimator : estimator or None
            Ranks the samples and is refitted; None for the cleaner's default.
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,)
            Their targets.
        X_val : array-like, or tuple, or None, default=None
            Data to validate the rankings on, as in
            :meth:`skinfluence.InfluenceCleaner.fit`; by default a part of each fold.
        y_val : array-like or None, default=None
            Their targets.
        scorers : sequence of scorers, or mapping of str to scorer
            The rankings, as in :class:`~skinfluence.InfluenceCleaner`; a
            mapping gives them names.
        n_removes : sequence of int or float
            How many to remove: counts, or fractions of a fold's training samples.
        cv : int, cross-validation generator or iterable, default=5
            The folds; the same for every ranking.
        scoring : str, callable or None, default=None
            As in :func:`sklearn.model_selection.cross_validate`.
        n_jobs : int or None, default=None
            Number of folds in parallel, through joblib.
        random_state : int, RandomState instance or None, default=None
            As in :class:`~skinfluence.InfluenceCleaner`.
        ax : matplotlib Axes or None, default=None
            Axes to draw on; a new figure by default.
        **cleaner : dict
            Further parameters of
            :class:`~skinfluence.InfluenceCleanerCV`, such as ``at``.

        Returns
        -------
        CleaningCurveDisplay
            The display, drawn.
        """
        n_removes = check_list("n_removes", n_removes, "counts and fractions")
        check_ax(ax)
        named = named_scorers(scorers)
        scores = {}
        for name, scorer in named.items():
            search = InfluenceCleanerCV(
                estimator,
                n_removes=n_removes,
                cv=cv,
                scoring=scoring,
                scorer=scorer,
                n_jobs=n_jobs,
                random_state=random_state,
                **cleaner,
            ).fit(X, y, X_val, y_val)
            results = search.cv_results_
            # By name, split10 comes before split2: mean and error are the same.
            folds = sorted(k for k in results if k.startswith("split"))
            scores[name] = np.array([results[fold] for fold in folds])
        name = scoring if isinstance(scoring, str) else _own_score(search)
        return cls(n_removes=n_removes, scores=scores, score_name=name).plot(ax=ax)

    def plot(self, ax: "Axes | None" = None) -> "CleaningCurveDisplay":
        """Draw the means, with the standard errors over the folds as bars.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; a new figure by default.

        Returns
        -------
        CleaningCurveDisplay
            Itself.
        """
        import matplotlib.pyplot as plt

        check_ax(ax)
        if ax is None:
            _, ax = plt.subplots(figsize=(6, 4), layout="constrained")
        self.ax_, self.figure_, self.lines_ = ax, ax.figure, []
        removed = np.asarray(self.n_removes, dtype=float)
        # As the cleaner reads them: only a number between 0 and 1 is a fraction.
        fractions = bool(((removed > 0) & (removed < 1)).any())
        for k, (name, scores) in enumerate(self.scores.items()):
            table = np.atleast_2d(np.asarray(scores, dtype=float))
            error = (
                table.std(axis=0, ddof=1) / len(table) ** 0.5
                if len(table) > 1
                else None
            )
            line = ax.errorbar(
                100 * removed if fractions else removed,
                table.mean(axis=0),
                yerr=error,
                label=name,
                color=COLORS[k % len(COLORS)],
                marker=MARKERS[k % len(MARKERS)],
                markersize=5,
                capsize=3,
            )
            self.lines_.append(line)
        ax.set_xlabel("removed samples (%)" if fractions else "removed samples")
        ax.set_ylabel(f"cross-validated {self.score_name.replace('_', ' ')}")
        ax.legend(title="removed first by", frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
        return self


def _own_score(estimator: BaseEstimator) -> str:
    """Return the name of scikit-learn's ``score`` of a kind of estimator."""
    if is_classifier(estimator):
        return "accuracy"
    return "R²" if is_regressor(estimator) else "score"
