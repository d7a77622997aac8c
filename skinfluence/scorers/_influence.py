"""The SGD-influence as a scorer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .._numbers import check_integer
from ..estimators import (
    QueryLike,
    ScoresOverRuns,
    answers_over_runs,
    check_query,
    influence_over_runs,
    labels_of,
)
from ._base import BaseScorer, ScoringData
from ._checks import check_retraceable

At = str | Sequence[int] | Mapping[int, float]
"""Models of a run: a name, epochs, or epochs with weights."""

Query = QueryLike
"""A name, ``query(outputs, targets) -> (batch,)``, or of ``skinfluence.queries``."""


class SGDInfluence(BaseScorer, name="influence"):
    """Score the samples by their influence on the validation loss.

    Named ``"influence"``. The score estimates the change of the mean validation loss,
    in its unit, if the sample had been left out [1]_: negative for harmful samples.

    Parameters
    ----------
    at : "final", "epochs", "path", sequence or mapping, default="epochs"
        Which models of the run are evaluated, as in the estimator's ``influence``:
        ``"path"`` finds most wrong labels, ``"final"`` does least harm on clean data,
        and ``"epochs"`` is a compromise.
    last_epochs : int, optional
        Retrace only the last epochs; by default all recorded epochs.
    verify : int, default=0
        How many samples at each end of the ranking get their exact value, by repeating
        the run without each.
    query : a named query or callable, default="loss"
        What is measured on each validation sample, as in the estimator's
        ``influence``: ``"error"`` for validation data that has label noise too.
    smoothing : None, float or "auto", default=None
        How wide kinks, such as ReLU's, are smoothed on the way back, as in the
        estimator's ``influence``.
    n_runs : int, default=1
        Number of runs to average over: the estimator's own, and others of its training,
        whose seeds come from its own, as in :func:`~skinfluence.influence_over_runs`.
        Each further one costs a training and a retrace.
    n_jobs : int or None, default=None
        Number of processes over which these are spread, through joblib.

    See Also
    --------
    ExactCounterfactual : The exact value of every sample.

    References
    ----------
    .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained with
       SGD", NeurIPS 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import SGDInfluence
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> clf = SGDInfluenceClassifier(max_epochs=5, random_state=0).fit(X, y)
    >>> SGDInfluence(at="path")(clf, X, y, X_val, y_val).shape
    (112,)
    """

    def __init__(
        self,
        at: At = "epochs",
        last_epochs: int | None = None,
        verify: int = 0,
        query: Query = "loss",
        smoothing: float | str | None = None,
        *,
        n_runs: int = 1,
        n_jobs: int | None = None,
    ) -> None:
        self.query = query
        self.at = at
        self.last_epochs = last_epochs
        self.verify = verify
        self.smoothing = smoothing
        self.n_runs = n_runs
        self.n_jobs = n_jobs

    _estimator_checks = (check_retraceable,)
    _required_data = ("X_val",)

    def _check_parameters(self) -> None:
        check_integer("n_runs", self.n_runs, 1)
        if self.n_runs > 1 and self.verify:
            raise ValueError(
                "`verify` must be 0 with n_runs > 1, since exact values are those of a "
                f"single run, got {self.verify!r}."
            )

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        check_query(estimator, self.query)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the samples' influence on the mean validation loss."""
        question: dict[str, Any] = {
            "sample_weight_val": data.sample_weight_val,
            "query": self.query,
            "at": self.at,
            "last_epochs": self.last_epochs,
            "smoothing": self.smoothing,
        }
        if self.n_runs == 1:
            scores: np.ndarray = estimator.influence(
                data.X_val, data.y_val, verify=self.verify, **question
            )
            return scores
        mean = influence_over_runs(
            estimator, data.X_val, data.y_val, **self._runs(estimator), **question
        ).mean
        # As in a single run, there is no influence of what no run used.
        return np.where(np.isnan(mean), 0.0, mean)

    def _runs(self, estimator: Any) -> dict[str, Any]:
        """Return which runs: the same ones for the same estimator."""
        seed = estimator.seed_
        return {"n_runs": self.n_runs, "random_state": seed, "n_jobs": self.n_jobs}

    def by_label(
        self,
        estimator: BaseEstimator,
        X: ArrayLike | None,
        y: ArrayLike | None,
        X_val: ArrayLike,
        y_val: ArrayLike | None,
        *,
        sample_weight_val: ArrayLike | None = None,
    ) -> np.ndarray:
        """Return the change of the mean validation loss under other labels.

        Parameters
        ----------
        estimator : object
            A recorded classifier, fitted on X and y.
        X, y : array-like of n_samples rows
            Ignored: the estimator holds its training data.
        X_val, y_val : array-like of n_val rows
            Validation data.
        sample_weight_val : array-like of shape (n_val,), optional
            Weights of the validation samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            Estimated change of the mean validation loss if the sample had each label,
            or if each of its several labels were toggled; over several runs, the mean.
            The lowest values of the `verify` most promising samples are exact.
        """
        self.check_estimator(estimator)
        options = {
            "sample_weight_val": sample_weight_val,
            "query": self.query,
            "at": self.at,
            "last_epochs": self.last_epochs,
        }

        def of_labels(run: Any) -> np.ndarray:
            scores: np.ndarray = run.label_influence(
                X_val, y_val, smoothing=self.smoothing, **options
            )
            return scores

        answers = answers_over_runs(estimator, of_labels, **self._runs(estimator))
        scores = ScoresOverRuns.of(answers).mean
        if self.verify:
            # A sample gets one label: only its best one needs to be exact.
            rows = scores.min(axis=1).argsort()[: self.verify]
            changes, kind = scores[rows].argmin(axis=1), labels_of(estimator)
            labels = [
                kind.after(np.array([row]), change)
                for row, change in zip(rows, changes, strict=True)
            ]
            scores[rows, changes] = estimator.counterfactual_influence(
                X_val, y_val, rows, labels=labels, **options
            )
        return scores
