"""Small problems in double precision that the scorers' tests share."""

import numpy as np
from torch import nn

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def binary(n: int = 24, n_val: int = 15, d: int = 3) -> Data:
    """Return X, y, X_val, y_val of two classes that overlap."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n + n_val, d))
    y = (X[:, 0] + rng.normal(size=n + n_val) > 0).astype(int)
    return X[:n], y[:n], X[n:], y[n:]


def regression(n: int = 24, n_val: int = 15, d: int = 3) -> Data:
    """Return the same with a continuous target."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n + n_val, d))
    y = X @ np.arange(1.0, d + 1) + rng.normal(size=n + n_val)
    return X[:n], y[:n], X[n:], y[n:]


class OneLogit(nn.Sequential):
    """Logistic regression with one output."""

    def __init__(self, d: int = 3) -> None:
        super().__init__(nn.Linear(d, 1))


def logistic(**options) -> SGDInfluenceClassifier:
    """Return a logistic regression with weight decay, to be fitted."""
    return SGDInfluenceClassifier(
        OneLogit,
        **{
            "criterion": nn.BCEWithLogitsLoss,
            "dtype": "float64",
            "optimizer__weight_decay": 0.05,
            "lr": 0.5,
            "max_epochs": 10,
            "batch_size": 6,
            "random_state": 0,
            **options,
        },
    )


def mlp(**options) -> SGDInfluenceClassifier:
    """Return a smooth multi-layer perceptron, to be fitted."""
    return SGDInfluenceClassifier(
        **{
            "module__hidden_layer_sizes": (4,),
            "module__activation": "tanh",
            "dtype": "float64",
            "optimizer__weight_decay": 0.01,
            "max_epochs": 4,
            "batch_size": 6,
            "random_state": 0,
            **options,
        },
    )


def linear_regressor(**options) -> SGDInfluenceRegressor:
    """Return a linear regression, to be fitted."""
    return SGDInfluenceRegressor(
        "linear",
        **{
            "dtype": "float64",
            "max_epochs": 10,
            "batch_size": 6,
            "random_state": 0,
            **options,
        },
    )
