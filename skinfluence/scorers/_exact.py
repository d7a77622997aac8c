"""The exact effect of each sample as a scorer."""

from os import PathLike

import numpy as np
from joblib import Memory
from sklearn.base import BaseEstimator

from ..estimators import check_query
from ._base import BaseScorer, ScoringData
from ._checks import check_recorded
from ._influence import At, Query


class ExactCounterfactual(BaseScorer, name="exact"):
    """Score the samples by the exact change of the validation loss without each.

    Named ``"exact"``. The recorded run is repeated without each sample (Definition 2 in
    [1]_): the score is what :class:`SGDInfluence` estimates, in the unit of the mean
    validation loss, at the cost of one training run for each sample, batched where
    possible. A negative score means that the validation loss is lower without the
    sample.

    Parameters
    ----------
    at : "final", "epochs", "path", sequence or mapping, default="epochs"
        Which models of the run are evaluated, as in :class:`SGDInfluence`.
    last_epochs : int, optional
        Repeat only the last epochs; by default all recorded epochs.
    n_jobs : int, optional
        Number of processes that share the runs.
    memory : str, path or joblib.Memory, optional
        Where to cache results, so that an interrupted computation can be resumed.
    query : a named query or callable, default="loss"
        What is measured on each validation sample, as in the estimator's
        ``influence``: ``"error"`` for validation data that has label noise too.

    See Also
    --------
    SGDInfluence : The estimate, at the cost of about one training; with ``verify=k``
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

    def __init__(
        self,
        at: At = "epochs",
        last_epochs: int | None = None,
        n_jobs: int | None = None,
        memory: str | PathLike[str] | Memory | None = None,
        query: Query = "loss",
    ) -> None:
        self.query = query
        self.at = at
        self.last_epochs = last_epochs
        self.n_jobs = n_jobs
        self.memory = memory

    _estimator_checks = (check_recorded,)
    _required_data = ("X_val",)

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        check_query(estimator, self.query, derivative=False)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the true change of the mean validation loss without each sample."""
        changes: np.ndarray = estimator.counterfactual_influence(
            data.X_val,
            data.y_val,
            sample_weight_val=data.sample_weight_val,
            query=self.query,
            at=self.at,
            last_epochs=self.last_epochs,
            memory=self.memory,
            n_jobs=self.n_jobs,
        )
        return changes
