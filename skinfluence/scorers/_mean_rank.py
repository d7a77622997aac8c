"""Several scorers in one: the mean of their ranks."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata
from sklearn.base import BaseEstimator

from ._base import BaseScorer, ScoringData
from ._checks import check_scores
from ._influence import Query, SGDInfluence
from ._margin import ProbabilityMargin
from ._resolve import get_scorer, named_scorers


class MeanRank(BaseScorer, name="mean_rank"):
    r"""Score the samples by the mean of their ranks under several scorers.

    Named ``"mean_rank"``. Each scorer ranks the samples, from 1 for its lowest score to
    n_samples, with the mean rank for ties, and the score is the mean of these ranks,

    .. math:: \text{score}_i = \frac{1}{m} \sum_{j=1}^m r_j(i),

    known as Borda's method [1]_. Scores in different units thus have equal say, however
    far apart their values are. By default one recorded run gives both rankings: how
    much a sample harms the validation loss, and how much the run contradicts its label.

    It works where all of the scorers do, and raises the errors of any that does not
    before any of them begins.

    Parameters
    ----------
    scorers : sequence of scorers, or mapping of str to scorer, default=None
        Arguments of :func:`get_scorer`, with distinct names as in
        :func:`named_scorers`; None for ``SGDInfluence("path")`` and
        ``ProbabilityMargin()``.
    query : a named query or callable, default="loss"
        That of the scorers given by name, and of the default's influence: ``"error"``
        for validation data that has label noise too. Objects have their own.
    random_state : int, RandomState instance or None, default=None
        That of the scorers given by name. Objects have their own.

    References
    ----------
    .. [1] C. Dwork, R. Kumar, M. Naor, D. Sivakumar, "Rank Aggregation Methods for the
       Web", WWW 2001, section 2.2.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import MeanRank
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> y[7] = (y[7] + 1) % 3
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
    >>> int(MeanRank()(clf, X, y, X_val, y_val).argmin())
    7
    >>> MeanRank(["loss", "margin"])(clf, X, y).shape
    (112,)
    """

    def __init__(
        self,
        scorers: Sequence[object] | Mapping[str, object] | None = None,
        *,
        query: Query = "loss",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.scorers = scorers
        self.query = query
        self.random_state = random_state

    def _parts(self) -> list[Callable[..., np.ndarray]]:
        if self.scorers is None:
            return [SGDInfluence("path", query=self.query), ProbabilityMargin()]
        options = {"query": self.query, "random_state": self.random_state}
        scorers = named_scorers(self.scorers).values()
        return [get_scorer(each, **options) for each in scorers]

    def _check_parameters(self) -> None:
        self._parts()

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        for part in self._parts():
            if hasattr(part, "check_estimator"):
                part.check_estimator(estimator)

    def check_targets(self, estimator: object, y: ArrayLike | None) -> None:
        """Raise an error if one of the scorers cannot score such targets.

        Parameters
        ----------
        estimator : object
            The estimator, fitted or not.
        y : array-like of n_samples rows, optional
            The targets.
        """
        for part in self._parts():
            if isinstance(part, BaseScorer):
                part.check_targets(estimator, y)

    def _check_data(self, data: ScoringData) -> None:
        for part in self._parts():
            if isinstance(part, BaseScorer):
                part._check_data(data)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the mean of the ranks of each sample."""
        weights = data.sample_weight_val
        # A plain function may do without the weights.
        options = {} if weights is None else {"sample_weight_val": weights}
        ranks: list[np.ndarray] = []
        for part in self._parts():
            scores = part(estimator, data.X, data.y, data.X_val, data.y_val, **options)
            n_samples = len(ranks[0] if ranks else np.atleast_1d(scores))
            ranks.append(rankdata(check_scores(scores, n_samples)))
        return np.mean(ranks, axis=0)
