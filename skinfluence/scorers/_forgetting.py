"""How often a sample was forgotten as a scorer."""

from typing import Any

import numpy as np
from scipy.stats import rankdata

from ._checks import OfRecordedRun
from ._epochs import margins, measure_epochs


class Forgetting(OfRecordedRun):
    """Score the samples by how often training forgot them: the most forgotten go first.

    The name ``"forgetting"`` stands for it. A sample is forgotten when the model at the
    end of an epoch classifies it rightly, by its given label, and that at the end of
    the next recorded epoch does not [1]_. One that was never classified rightly counts
    as forgotten as many times as there are epochs, which is more than any other can be.
    The validation data is not used.

    The score is minus the number of times, minus a fraction below 1 that orders samples
    forgotten equally often: the lower the mean margin over the epochs
    (:class:`AreaUnderMargin`), the sooner.

    References
    ----------
    .. [1] M. Toneva, A. Sordoni, R. Tachet des Combes, A. Trischler, Y. Bengio,
       G. Gordon, "An Empirical Study of Example Forgetting during Deep Neural Network
       Learning", ICLR 2019, section 3 and Algorithm 1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import Forgetting
    >>> X, y = load_iris(return_X_y=True)
    >>> y[7] = 2
    >>> clf = SGDInfluenceClassifier(max_epochs=15, random_state=0).fit(scale(X), y)
    >>> scores = Forgetting()(clf)
    >>> int(scores.argmin()), int(-scores[7])
    (7, 15)
    """

    _name = "forgetting"
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
        """Return minus the number of times that each sample was forgotten.

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
            Minus the counts, minus a fraction that orders equal ones.
        """
        self.check_estimator(estimator)
        table = measure_epochs(estimator, margins)
        right = table > 0
        events = (right[:-1] & ~right[1:]).sum(axis=0)
        times = np.where(right.any(axis=0), events, len(table))
        among_equals = (rankdata(-table.mean(axis=0)) - 1) / table.shape[1]
        return -(times + among_equals)
