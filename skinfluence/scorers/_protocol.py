"""The protocol that scorers follow."""

from typing import Any, Protocol

import numpy as np


class Scorer(Protocol):
    """A callable that scores each training sample: the lower, the more harmful.

    A plain function is a scorer too. It may omit `sample_weight_val`, which is passed
    only if the validation samples have weights. A scorer may also have a method
    ``check_estimator(estimator)`` that raises an error if it cannot score with that
    estimator; it is called before any work is done. If a scorer has a parameter
    ``random_state`` that is None, the cleaners set it.

    Examples
    --------
    A custom scorer: the distance to the mean of the sample's class.

    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import InfluenceCleaner, SGDInfluenceClassifier
    >>> def off_centre(estimator, X, y, X_val, y_val):
    ...     means = np.array([X_val[y_val == label].mean(0) for label in np.unique(y)])
    ...     return -np.linalg.norm(X - means[y], axis=1)
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SGDInfluenceClassifier(random_state=0)
    >>> cleaner = InfluenceCleaner(clf, scorer=off_centre, n_remove=5, random_state=0)
    >>> cleaner.fit(scale(X), y).n_removed_
    5
    """

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
        """Score the samples that an estimator was trained on.

        Parameters
        ----------
        estimator : object
            The estimator, fitted on X and y.
        X, y : array-like of n_samples rows
            Its training data, in the containers that were passed to ``fit``.
        X_val, y_val : array-like of n_val rows
            Validation data.
        sample_weight_val : array-like of shape (n_val,), optional
            Weights of the validation samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            The samples' scores; the lowest are removed first.
        """
        ...
