"""Small reports: a linear model on blobs, whose labels, texts and names are given."""

import numpy as np
from sklearn.datasets import make_blobs

from skinfluence import SGDInfluenceClassifier
from skinfluence.inspection import AuditReport
from tests.inspection.hostile import HOSTILE, LONG


def blobs(labels=("a", "b", "c"), n_samples=60, n_val=30):
    """Return X, y, X_val and y_val, with some labels of y exchanged."""
    X, codes = make_blobs(
        n_samples + n_val,
        centers=len(labels),
        n_features=4,
        cluster_std=2.0,
        random_state=0,
    )
    X = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
    names = np.array([*labels, None], dtype=object)[:-1]
    wrong = codes.copy()
    wrong[:n_samples:7] = (wrong[:n_samples:7] + 1) % len(labels)
    return (
        X[:n_samples],
        names[wrong[:n_samples]],
        X[n_samples:],
        names[codes[n_samples:]],
    )


def fitted(X, y, **options):
    defaults = {"max_epochs": 4, "batch_size": 16, "random_state": 0}
    return SGDInfluenceClassifier("linear", **{**defaults, **options}).fit(X, y)


def report_of(data, *, n=30, **options):
    X, y, X_val, y_val = data
    # Few samples of such data are harmful.
    defaults = {"n_check": 0, "harmful_only": False, "random_state": 0}
    options = {**defaults, **options}
    return AuditReport.from_estimator(fitted(X, y), X, y, X_val, y_val, n=n, **options)


def hostile_data():
    """Return data with a hostile label for each class, some rows of each."""
    labels = [*HOSTILE, LONG]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3 * len(labels), 4)).astype(np.float32)
    y = np.array([*labels * 3, None], dtype=object)[:-1]
    return X, y, X[:40] + 0.1, y[:40]
