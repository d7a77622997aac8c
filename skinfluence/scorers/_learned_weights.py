"""Weights of the samples that are learned on the validation data."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from ._checks import OfRecordedRun


class LearnedWeights(OfRecordedRun):
    r"""Score the samples by weights that lower the validation loss: the least go first.

    The name ``"learned_weights"`` stands for it. Learning to reweight [1]_, over whole
    training runs in the place of single steps. The run under the weights w is retraced
    for the metagradient :math:`∂Q/∂\log w_i` of the mean validation loss Q, which is
    minus the sample's influence but for the scaling of the weights to mean 1; the
    weights are moved against it,

    .. math:: w_i ← w_i \exp(-\tfrac{η}{σ} ∂Q/∂\log w_i),

    with σ the largest standard deviation of the metagradients so far, so that a run
    that enlarges small changes does not throw the weights off, and the estimator is
    trained again with them. On the logarithm the weights stay positive, so that none is
    lost for good. Costs `n_iterations` retraces, and a training less. No unit.

    Parameters
    ----------
    n_iterations : int, default=5
        How often the weights are moved.
    step_size : float, default=0.3
        The η.
    at : "final", "epochs", "path", sequence or mapping, default="epochs"
        Which models of the run make up Q, as in :class:`SGDInfluence`.
    last_epochs : int, optional
        Retrace only the last epochs; by default all that was recorded.

    Attributes
    ----------
    weights_ : ndarray of shape (n_samples,), float64
        The weights of the last call, positive and with mean 1, to be used as
        ``sample_weight``; a `sample_weight` that the estimator was trained with, and
        its class weights, are to be multiplied with them.

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

    _name = "learned_weights"

    def __init__(
        self,
        n_iterations: int = 5,
        step_size: float = 0.3,
        at: Any = "epochs",
        last_epochs: int | None = None,
    ) -> None:
        self.n_iterations = n_iterations
        self.step_size = step_size
        self.at = at
        self.last_epochs = last_epochs

    def _check_parameters(self) -> None:
        number = isinstance(self.n_iterations, Integral) and self.n_iterations >= 1
        if not number or isinstance(self.n_iterations, bool):
            raise ValueError(
                "`n_iterations` must be an integer of at least 1, got "
                f"{self.n_iterations!r}."
            )
        if not (isinstance(self.step_size, Real) and 0 < self.step_size < np.inf):
            raise ValueError(
                f"`step_size` must be a finite number above 0, got {self.step_size!r}."
            )

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
        """Return the learned weights of the samples.

        Parameters
        ----------
        estimator : object
            A recorded estimator, fitted on X and y by one call of ``fit``; it is not
            changed, copies of it are trained.
        X, y : array-like of n_samples rows
            What it was fitted on.
        X_val, y_val : array-like of n_val rows
            Validation data.
        sample_weight_val : array-like of shape (n_val,), optional
            Weights of the validation samples.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            The weights.

        Raises
        ------
        ValueError
            If the estimator was trained by several calls on different data.
        """
        self.check_estimator(estimator)
        given = _given_weights(estimator)
        logarithms, scale = np.zeros(len(given)), 0.0
        fitted = estimator
        for k in range(self.n_iterations):
            if k:
                fitted = _refit(estimator, X, y, given * np.exp(logarithms))
            influence = fitted.influence(
                X_val,
                y_val,
                sample_weight_val=sample_weight_val,
                at=self.at,
                last_epochs=self.last_epochs,
            )
            # Training divides the weights by their mean: their common scale is nothing.
            weights = given * np.exp(logarithms)
            uphill = weights / weights.sum() * influence.sum() - influence
            scale = max(scale, uphill.std())
            logarithms = logarithms - self.step_size * uphill / (scale or 1.0)
            logarithms -= np.log(np.exp(logarithms).mean())
        self.weights_ = np.exp(logarithms)
        return self.weights_.copy()


def _given_weights(estimator: Any) -> np.ndarray:
    """Return the c_i that the estimator was trained with."""
    check_is_fitted(estimator, "training_data_")
    *others, data = estimator.training_data_
    if any(other.digest != data.digest for other in others):
        raise ValueError(
            "The estimator must be trained by one call of fit for the scorer "
            f"'learned_weights', got {len(others) + 1} on different data."
        )
    return np.ones(len(data)) if data.weights is None else data.weights.numpy()


def _refit(estimator: Any, X: Any, y: Any, weights: np.ndarray) -> Any:
    """Train a copy under the same seed with other weights."""
    copy = clone(estimator)
    if not isinstance(estimator.random_state, Integral):
        copy.set_params(random_state=estimator.seed_)
    if "class_weight" in copy.get_params(deep=False):
        # The weights hold those of the classes already.
        copy.set_params(class_weight=None)
    fit_params = estimator.training_data_[-1].fit_params
    return copy.fit(X, y, sample_weight=weights, **fit_params)
