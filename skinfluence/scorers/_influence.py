"""The SGD-influence as a scorer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ._checks import OfRecordedRun


class SGDInfluence(OfRecordedRun):
    """Score the samples by their influence on the validation loss.

    The name ``"influence"`` stands for it. A negative score is the estimate that the
    validation loss would be lower without the sample [1]_.

    Parameters
    ----------
    at : "final", "epochs", "path", sequence or mapping, default="epochs"
        Which models of the run are asked, as in the estimator's ``influence``: on noisy
        labels ``"path"`` finds most, on clean data ``"final"`` does least harm, and
        ``"epochs"`` stands between.
    last_epochs : int, optional
        Retrace only the last epochs; by default all that was recorded.
    verify : int, default=0
        How many samples at each end of the ranking get their exact value, by training
        again without each.
    query : "loss", "error" or callable, default="loss"
        What is asked about each validation sample, as in the estimator's
        ``influence``: ``"error"`` for validation data with wrong labels of its own.

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

    _name = "influence"

    def __init__(
        self,
        at: str | Sequence[int] | Mapping[int, float] = "epochs",
        last_epochs: int | None = None,
        verify: int = 0,
        query: str | Callable[[Any, Any], Any] = "loss",
    ) -> None:
        self.query = query
        self.at = at
        self.last_epochs = last_epochs
        self.verify = verify

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        X_val: Any,
        y_val: Any,
        *,
        sample_weight_val: Any = None,
    ) -> np.ndarray:
        """Return the samples' influence on the mean validation loss.

        Parameters
        ----------
        estimator : object
            A recorded estimator, fitted on X and y.
        X, y : array-like of n_samples rows
            What it was fitted on; not looked at, the estimator knows them.
        X_val, y_val : array-like of n_val rows
            Validation data.
        sample_weight_val : array-like of shape (n_val,), optional
            Weights of the validation samples.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Estimated change of the mean validation loss without each sample.
        """
        scores: np.ndarray = estimator.influence(
            X_val,
            y_val,
            sample_weight_val=sample_weight_val,
            query=self.query,
            at=self.at,
            last_epochs=self.last_epochs,
            verify=self.verify,
        )
        return scores

    def by_label(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        X_val: Any,
        y_val: Any,
        *,
        sample_weight_val: Any = None,
    ) -> np.ndarray:
        """Return what other labels of the samples would do to the mean validation loss.

        Parameters
        ----------
        estimator : object
            A recorded classifier, fitted on X and y.
        X, y : array-like of n_samples rows
            What it was fitted on; not looked at, the estimator knows them.
        X_val, y_val : array-like of n_val rows
            Validation data.
        sample_weight_val : array-like of shape (n_val,), optional
            Weights of the validation samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            Estimated change of the mean validation loss under each label. The `verify`
            lowest of them, each of another sample, are exact.
        """
        options = {
            "sample_weight_val": sample_weight_val,
            "query": self.query,
            "at": self.at,
            "last_epochs": self.last_epochs,
        }
        scores: np.ndarray = estimator.label_influence(X_val, y_val, **options)
        if self.verify:
            rows = scores.min(axis=1).argsort()[: self.verify]
            labels = scores[rows].argmin(axis=1)
            scores[rows, labels] = estimator.counterfactual_influence(
                X_val, y_val, rows, labels=estimator.classes_[labels], **options
            )
        return scores
