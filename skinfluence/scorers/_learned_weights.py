"""Weights of the samples that are learned on the validation data."""

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

from .._numbers import check_integer, is_integer, is_real
from ._base import BaseScorer, ScoringData
from ._checks import check_retraceable
from ._influence import At


class LearnedWeights(BaseScorer, name="learned_weights"):
    r"""Score the samples by weights that lower the validation loss, smallest first.

    Named ``"learned_weights"``. This is learning to reweight [1]_ over whole training
    runs instead of single steps. The run under the weights w is retraced for the
    metagradient :math:`∂Q/∂\log w_i` of the mean validation loss Q, which is minus the
    sample's influence up to the scaling of the weights to mean 1; a gradient step on
    the log-weights follows,

    .. math:: w_i ← w_i \exp(-\tfrac{η}{σ} ∂Q/∂\log w_i),

    and the estimator is trained again with the new weights. σ is the largest standard
    deviation of the metagradients so far, which keeps the steps bounded in runs that
    amplify small changes. On the log scale the weights stay positive, so that each can
    recover. The cost is `n_iterations` retraces and `n_iterations` - 1 training runs.
    The score is the weight and has no unit.

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
    ) -> None:
        self.n_iterations = n_iterations
        self.step_size = step_size
        self.at = at
        self.last_epochs = last_epochs

    _estimator_checks = (check_retraceable,)
    _required_data = ("X", "X_val")

    def _check_parameters(self) -> None:
        check_integer("n_iterations", self.n_iterations, 1)
        if not (is_real(self.step_size) and 0 < self.step_size < np.inf):
            raise ValueError(
                f"`step_size` must be a finite number above 0, got {self.step_size!r}."
            )

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the learned weights of the samples."""
        base = _training_weights(estimator)
        logarithms, scale = np.zeros(len(base)), 0.0
        fitted = estimator
        for k in range(self.n_iterations):
            if k:
                fitted = _refit(estimator, data, base * np.exp(logarithms))
            influence = fitted.influence(
                data.X_val,
                data.y_val,
                sample_weight_val=data.sample_weight_val,
                at=self.at,
                last_epochs=self.last_epochs,
            )
            # Training divides the weights by their mean: their scale has no effect.
            weights = base * np.exp(logarithms)
            slopes = weights / weights.sum() * influence.sum() - influence
            scale = max(scale, slopes.std())
            logarithms = logarithms - self.step_size * slopes / (scale or 1.0)
            logarithms -= np.log(np.exp(logarithms).mean())
        self.weights_ = np.exp(logarithms)
        return self.weights_.copy()


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
    estimator: BaseEstimator, data: ScoringData, weights: np.ndarray
) -> BaseEstimator:
    """Train a clone with the same seed and other weights."""
    copy = clone(estimator)
    # Any other random state would draw a new seed.
    if not is_integer(estimator.random_state):
        copy.set_params(random_state=estimator.seed_)
    # The weights include those of the classes, by which they are multiplied once more.
    by_class = compute_sample_weight(getattr(copy, "class_weight", None), data.y)
    weights = np.divide(
        weights, by_class, out=np.zeros_like(weights), where=by_class > 0
    )
    fit_params = estimator.training_data_[-1].fit_params
    return copy.fit(data.X, data.y, sample_weight=weights, **fit_params)
