"""Weights of the samples that are learned on the validation data."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from .._numbers import is_integer
from ..estimators import n_rows, query_value
from ._base import BaseScorer, ScoringData
from ._checks import check_retraceable
from ._descent import Descent, Step, centered, judging, weight_slopes
from ._influence import At


class LearnedWeights(BaseScorer, name="learned_weights"):
    r"""Score the samples by weights that lower the validation loss, smallest first.

    Named ``"learned_weights"``. This is learning to reweight [1]_ over whole training
    runs instead of single steps. The run under the weights w is retraced for the
    metagradient :math:`∂Q/∂\log w_i` of the mean validation loss Q, which is minus the
    sample's influence up to the scaling of the weights to mean 1; a gradient step on
    the log-weights follows,

    .. math:: w_i ← w_i \exp(-η\, u(∂Q/∂\log w_i)),

    and the estimator is trained again with the new weights, scaled to mean 1. This is
    metagradient descent [2]_. The update rule u is by default the division by the
    largest standard deviation of the metagradients so far, which keeps the steps
    bounded in runs that amplify small changes. On the log scale the weights stay
    positive, so that each can recover. The cost is `n_iterations` retraces and
    `n_iterations` - 1 training runs. The score is the weight and has no unit.

    The estimator must have been trained on one data set. It is not changed: clones of
    it are trained.

    Parameters
    ----------
    n_iterations : int, default=5
        Number of gradient steps.
    step_size : float, default=0.3
        The step size η.
    at : "final", "epochs", "path", sequence or mapping, default="epochs"
        Which models of the run Q averages over, as in :class:`SGDInfluence`.
    last_epochs : int, optional
        Retrace only the last epochs; by default all recorded epochs.
    smoothing : None, float or "auto", default=None
        How wide kinks are smoothed on the way back, as in :class:`SGDInfluence`.
    update : {"sgd", "sign", "adam"}, default="sgd"
        The update rule u, as in :class:`~skinfluence.cleaning.Reweight`.
    early_stopping : float, default=None
        Share of the validation samples, between 0 and 1, that is held out from the
        metagradient and judges each step, by the mean loss of the final model. The
        weights of the best step are kept, all 1 if that is the first, and the descent
        ends three steps after it. It costs a further training run. None: all validation
        samples count in the metagradient, and the last weights are taken.
    reseed : bool, default=False
        Whether each step trains with other initial weights and batches.

    Attributes
    ----------
    weights_ : ndarray of shape (n_samples,), float64
        The weights of the last call, positive and with mean 1, for use as
        ``sample_weight``. Multiply them by the `sample_weight` that the estimator was
        trained with, if any, and by its class weights.

    References
    ----------
    .. [1] M. Ren, W. Zeng, B. Yang, R. Urtasun, "Learning to Reweight Examples for
       Robust Deep Learning", ICML 2018.
    .. [2] L. Engstrom, A. Ilyas, B. Chen, A. Feldmann, W. Moses, A. Madry, "Optimizing
       ML Training with Metagradient Descent", 2025.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import LearnedWeights
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> clf = SGDInfluenceClassifier("linear", max_epochs=5, random_state=0).fit(X, y)
    >>> scorer = LearnedWeights()
    >>> scores = scorer(clf, X, y, X_val, y_val)
    >>> better = clf.fit(X, y, sample_weight=scorer.weights_)
    """

    def __init__(
        self,
        n_iterations: int = 5,
        step_size: float = 0.3,
        at: At = "epochs",
        last_epochs: int | None = None,
        *,
        smoothing: float | str | None = None,
        update: str = "sgd",
        early_stopping: float | None = None,
        reseed: bool = False,
    ) -> None:
        self.n_iterations = n_iterations
        self.step_size = step_size
        self.at = at
        self.last_epochs = last_epochs
        self.smoothing = smoothing
        self.update = update
        self.early_stopping = early_stopping
        self.reseed = reseed

    _estimator_checks = (check_retraceable,)
    _required_data = ("X", "X_val")

    def _descent(self) -> Descent:
        return Descent(
            self.n_iterations,
            self.update,
            self.step_size,
            self.early_stopping,
            self.reseed,
        )

    def _check_parameters(self) -> None:
        self._descent().check("n_iterations")

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the learned weights of the samples."""
        base, descent = _training_weights(estimator), self._descent()
        judges, rest = _split(descent, data)
        seeds = np.random.RandomState(estimator.seed_).randint(
            np.iinfo(np.int32).max, size=self.n_iterations + 1
        )

        def measure(number: int, logarithms: np.ndarray, slopes: bool) -> Step:
            weights = np.exp(logarithms)
            fitted = estimator
            if number:
                seed = seeds[number] if self.reseed else estimator.seed_
                fitted = _refit(estimator, data, base * weights, int(seed))
            loss, found = np.nan, np.full(len(base), np.nan)
            if judges is not None:
                loss = query_value(fitted, data.X_val, data.y_val, judges, "loss")
            if slopes:
                influence = fitted.influence(
                    data.X_val,
                    data.y_val,
                    sample_weight_val=rest,
                    at=self.at,
                    last_epochs=self.last_epochs,
                    smoothing=self.smoothing,
                )
                found = weights * weight_slopes(influence, base, weights)
            return found, loss

        start = np.zeros(len(base))
        self.weights_ = np.exp(descent.run(start, measure, centered))
        return self.weights_.copy()


def _split(descent: Descent, data: ScoringData) -> tuple[Any, Any]:
    """Return the weights of the validation samples that judge, and of the others."""
    weights = data.sample_weight_val
    if descent.early_stopping is None:
        return None, weights
    n_val = n_rows(data.X_val)
    given = np.ones(n_val) if weights is None else np.asarray(weights)
    judges = judging(descent.early_stopping, n_val)
    return given * judges, given * ~judges


def _training_weights(estimator: BaseEstimator) -> np.ndarray:
    """Return the c_i that the estimator was trained with."""
    check_is_fitted(estimator, "training_data_")
    *others, data = estimator.training_data_
    if any(other.digest != data.digest for other in others):
        raise ValueError(
            "The estimator must be trained by one call of fit for the scorer "
            f"'learned_weights', got {len(others) + 1} on different data."
        )
    return np.ones(len(data)) if data.weights is None else data.weights.numpy()


def _refit(
    estimator: BaseEstimator, data: ScoringData, weights: np.ndarray, seed: int
) -> BaseEstimator:
    """Train a clone with other weights."""
    copy = clone(estimator)
    # A random state that is a generator would draw another seed.
    if not is_integer(estimator.random_state) or seed != estimator.seed_:
        copy.set_params(random_state=seed)
    # The weights include those of the classes, by which they are multiplied once more.
    labels = None if data.y is None else np.asarray(data.y)
    if (by_class := copy._class_weights(labels)) is not None:
        weights = np.divide(
            weights, by_class, out=np.zeros_like(weights), where=by_class > 0
        )
    fit_params = estimator.training_data_[-1].fit_params
    return copy.fit(data.X, data.y, sample_weight=weights, **fit_params)
