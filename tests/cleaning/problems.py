"""Small data with known flips."""

import numpy as np
from sklearn.datasets import make_blobs

from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import flip_labels


def flipped_blobs(n_samples=120, fraction=0.15, seed=0, n_val=40):
    """Return X, y, the mask of the flips, and clean X_val, y_val."""
    X, y = make_blobs(
        n_samples + n_val, centers=3, cluster_std=1.5, n_features=4, random_state=seed
    )
    X = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
    noisy, flips = flip_labels(y[:n_samples], fraction, random_state=seed)
    return X[:n_samples], noisy, flips, X[n_samples:], y[n_samples:]


def quick(**options):
    """Return a classifier that trains in a few milliseconds."""
    defaults = {"max_epochs": 5, "batch_size": 32, "random_state": 0}
    return SGDInfluenceClassifier("linear", **{**defaults, **options})
