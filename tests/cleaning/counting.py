"""A scorer that leaves a file for each time it is called, in whichever process."""

import uuid
from pathlib import Path

from sklearn.base import BaseEstimator


class CountingInfluence(BaseEstimator):
    def __init__(self, folder, at="epochs"):
        self.folder = folder
        self.at = at

    def __call__(self, estimator, X, y, X_val, y_val):
        (Path(self.folder) / uuid.uuid4().hex).touch()
        return estimator.influence(X_val, y_val, at=self.at)


def count(folder):
    """Return how often the scorer was called."""
    return len(list(Path(folder).iterdir()))
