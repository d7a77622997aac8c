"""The margin as a scorer: that of the final model, and its mean over the epochs."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from ._checks import OfRecordedRun, check_classifies
from ._epochs import margins, measure_epochs, measure_samples


class Margin(BaseEstimator):
    r"""Score the samples by how clearly the model prefers their label to all others.

    The name ``"margin"`` stands for it. The score is the fitted model's logit of the
    given label minus the largest other logit, in evaluation mode: negative where the
    model contradicts the label,

    .. math:: z_{y}(x) - \max_{k \ne y} z_k(x).

    A single output z, as of ``BCEWithLogitsLoss``, counts as the logits (0, z); other
    classifiers' logits are the logarithms of their probabilities. The validation data
    is not used.

    See Also
    --------
    AreaUnderMargin : The same, averaged over the epochs.

    References
    ----------
    .. [1] G. Pleiss, T. Zhang, E. Elenberg, K. Weinberger, "Identifying Mislabeled Data
       using the Area Under the Margin Ranking", NeurIPS 2020, section 3.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinfluence.scorers import Margin
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> scores = Margin()(LogisticRegression(max_iter=1000).fit(X, y), X, y)
    >>> int(scores.argmin())
    7
    """

    def check_estimator(self, estimator: Any) -> None:
        """Raise an error if the estimator has no margins.

        Parameters
        ----------
        estimator : object
            The estimator, fitted or not.

        Raises
        ------
        TypeError
            If it is no classifier, or neither one of the library's nor one with
            ``predict_proba``.
        """
        check_classifies(estimator, "margin")
        if not hasattr(estimator, "get_losses") and not hasattr(
            estimator, "predict_proba"
        ):
            raise TypeError(
                "`estimator` must have `predict_proba` for the scorer 'margin', got "
                f"{type(estimator).__name__}."
            )

    def __call__(
        self,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        *,
        sample_weight_val: Any = None,
    ) -> np.ndarray:
        """Return the margin of each sample.

        Parameters
        ----------
        estimator : object
            A classifier, fitted on X and y.
        X, y : array-like of n_samples rows
            What it was fitted on.
        X_val, y_val, sample_weight_val : object
            Not used.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            The margins, in logits.
        """
        self.check_estimator(estimator)
        if hasattr(estimator, "get_losses"):
            return measure_samples(estimator, margins)
        likely = np.asarray(estimator.predict_proba(X), dtype=np.float64)
        logits = np.log(np.maximum(likely, np.finfo(np.float64).tiny))
        own = np.asarray(y)[:, None] == estimator.classes_
        return logits[own] - np.where(own, -np.inf, logits).max(axis=1)


class AreaUnderMargin(OfRecordedRun):
    r"""Score the samples by their margin, averaged over the recorded epochs.

    The name ``"area_under_margin"`` stands for it. The score is the mean, over the
    models
    :math:`z^{(t)}` at the ends of the recorded epochs, of the logit of the given label
    minus the largest other [1]_, in evaluation mode:

    .. math:: \frac{1}{T} \sum_{t=1}^T z^{(t)}_{y}(x) - \max_{k \ne y} z^{(t)}_k(x).

    The paper takes the logits at the steps that train on the sample; here they are
    those of the epochs' ends. The validation data is not used.

    See Also
    --------
    Margin : The margin of the final model alone, of any classifier.

    References
    ----------
    .. [1] G. Pleiss, T. Zhang, E. Elenberg, K. Weinberger, "Identifying Mislabeled Data
       using the Area Under the Margin Ranking", NeurIPS 2020, section 3.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import AreaUnderMargin
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(scale(X), y)
    >>> int(AreaUnderMargin()(clf).argmin())
    7
    """

    _name = "area_under_margin"
    _of_classifiers = True

    def __call__(
        self,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        *,
        sample_weight_val: Any = None,
    ) -> np.ndarray:
        """Return the mean margin of each sample.

        Parameters
        ----------
        estimator : SGDInfluenceClassifier
            A recorded classifier, fitted on X and y.
        X, y : array-like of n_samples rows
            What it was fitted on; not looked at, the estimator knows them.
        X_val, y_val, sample_weight_val : object
            Not used.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            The mean margins, in logits.
        """
        self.check_estimator(estimator)
        return measure_epochs(estimator, margins).mean(axis=0)
