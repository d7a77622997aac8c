"""The mean loss over the epochs as a scorer."""

from typing import Any

import numpy as np

from ._checks import OfRecordedRun
from ._epochs import losses, measure_epochs


class MeanLoss(OfRecordedRun):
    """Score the samples by their loss, averaged over the recorded epochs.

    The name ``"mean_loss"`` stands for it. The score is minus the mean of the
    criterion's loss on each training sample over the models at the ends of the recorded
    epochs, in the loss's unit, unweighted and in evaluation mode. A network learns most
    wrong labels late, so that early epochs tell of them what the final model no longer
    does [1]_. The validation data is not used.

    See Also
    --------
    Loss : The loss of the final model alone, of any estimator.

    References
    ----------
    .. [1] E. Arazo, D. Ortego, P. Albert, N. O'Connor, K. McGuinness, "Unsupervised
       Label Noise Modeling and Loss Correction", ICML 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import MeanLoss
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(scale(X), y)
    >>> int(MeanLoss()(clf).argmin())
    7
    """

    _name = "mean_loss"

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
        """Return minus the mean loss of each sample.

        Parameters
        ----------
        estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
            A recorded estimator, fitted on X and y.
        X, y : array-like of n_samples rows
            What it was fitted on; not looked at, the estimator knows them.
        X_val, y_val, sample_weight_val : object
            Not used.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Minus the mean losses.
        """
        self.check_estimator(estimator)
        return -measure_epochs(estimator, losses).mean(axis=0)
