"""The exact effect of each sample as a scorer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ._checks import OfRecordedRun


class ExactCounterfactual(OfRecordedRun):
    """Score the samples by the true change of the validation loss without each.

    The name ``"exact"`` stands for it. The recorded run is repeated without each sample
    (Definition 2 in [1]_): what :class:`SGDInfluence` estimates, at the cost of a
    training for each sample, many of them taken at once. A negative score means that
    the validation loss is lower without the sample.

    Parameters
    ----------
    at : "final", "epochs", "path", sequence or mapping, default="epochs"
        Which models of the run are asked, as in :class:`SGDInfluence`.
    last_epochs : int, optional
        Repeat only the last epochs; by default all that was recorded.
    n_jobs : int, optional
        Number of processes over which the runs are spread.
    memory : str, path or joblib.Memory, optional
        Where to cache results: what was done before an interruption is not done again.
    query : "loss", "error" or callable, default="loss"
        What is asked about each validation sample, as in the estimator's
        ``influence``: ``"error"`` for validation data with wrong labels of its own.

    See Also
    --------
    SGDInfluence : The estimate, for the cost of about one training; with ``verify=k``
        exact at both ends of the ranking.

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
    >>> from skinfluence.scorers import ExactCounterfactual
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> clf = SGDInfluenceClassifier("linear", max_epochs=5, random_state=0).fit(X, y)
    >>> ExactCounterfactual()(clf, X, y, X_val, y_val).shape
    (112,)
    """

    _name = "exact"

    def __init__(
        self,
        at: str | Sequence[int] | Mapping[int, float] = "epochs",
        last_epochs: int | None = None,
        n_jobs: int | None = None,
        memory: Any = None,
        query: str | Callable[[Any, Any], Any] = "loss",
    ) -> None:
        self.query = query
        self.at = at
        self.last_epochs = last_epochs
        self.n_jobs = n_jobs
        self.memory = memory

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
        """Return the true change of the mean validation loss without each sample.

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
            Change of the mean validation loss, in its unit.
        """
        self.check_estimator(estimator)
        changes: np.ndarray = estimator.counterfactual_influence(
            X_val,
            y_val,
            sample_weight_val=sample_weight_val,
            query=self.query,
            at=self.at,
            last_epochs=self.last_epochs,
            memory=self.memory,
            n_jobs=self.n_jobs,
        )
        return changes
