"""Data and networks of the experiments of Hara, Nitanda and Maehara (2019)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import LRScheduler
from torch import nn

from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import fetch_20newsgroups, fetch_adult, fetch_mnist

Data = tuple[np.ndarray, np.ndarray]


@cache
def adult() -> Data:
    """Return Adult, one-hot: missing categories are a category."""
    X, y = fetch_adult(subset="all", return_X_y=True)
    X = pd.get_dummies(X, dummy_na=False).to_numpy(dtype=np.float64)
    return X, (y == ">50K").to_numpy(dtype=np.int64)


@cache
def newsgroups() -> Data:
    """Return posts on PC hardware and on Macs as TF-IDF."""
    groups = ["comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware"]
    posts = {
        subset: fetch_20newsgroups(
            subset=subset,
            categories=groups,
            remove=("headers", "footers", "quotes"),
        )
        for subset in ("train", "test")
    }
    vectorizer = TfidfVectorizer(stop_words="english", min_df=0.001, max_df=0.2)
    train = vectorizer.fit_transform(posts["train"].data)
    test = vectorizer.transform(posts["test"].data)
    X = np.concatenate([train.toarray(), test.toarray()])
    return X, np.concatenate([posts["train"].target, posts["test"].target])


@cache
def mnist() -> Data:
    """Return the ones and sevens of MNIST's training set."""
    X, y = fetch_mnist(return_X_y=True)
    chosen = (y == 1) | (y == 7)
    return X[chosen] / 255.0, (y[chosen] == 7).astype(np.int64)


DATA = {"Adult": adult, "MNIST": mnist, "20News": newsgroups}

LOGREG_EPOCHS = {"Adult": 20, "20News": 10, "MNIST": 5}
LOGREG_LR = {"Adult": 0.1, "20News": 0.01, "MNIST": 0.1}


def subsample(data: str, seed: int, size: int = 200) -> tuple[Data, Data]:
    """Return `size` training and as many validation samples, standardized.

    TF-IDF is left as it is.
    """
    X, y = DATA[data]()
    X, X_val, y, y_val = train_test_split(
        X, y, train_size=size, test_size=size, random_state=seed
    )
    if data != "20News":
        scaler = StandardScaler().fit(X)
        X, X_val = scaler.transform(X), scaler.transform(X_val)
    return (X, y), (X_val, y_val)


class LogisticModel(nn.Sequential):
    """Logistic regression with one output."""

    def __init__(self, n_features: int) -> None:
        super().__init__(nn.Linear(n_features, 1))


class SmallNetwork(nn.Sequential):
    """The paper's d-8-8-1 network, with its activation or another one."""

    def __init__(
        self, n_features: int, activation: Callable[[], nn.Module] = nn.ReLU
    ) -> None:
        super().__init__(
            nn.Linear(n_features, 8),
            activation(),
            nn.Linear(8, 8),
            activation(),
            nn.Linear(8, 1),
        )


def classifier(
    data: str, model: str, X: Any, y: Any, seed: int
) -> SGDInfluenceClassifier:
    """Return the paper's model, to be fitted.

    The L2 penalty is weight decay, which belongs to no sample. As a part of each
    sample's loss it would leave the batch together with the sample, and add to the
    influence of each sample about the same amount: the ranking stays.
    """
    options: dict[str, Any]
    if model == "LogReg":
        search = LogisticRegressionCV(
            fit_intercept=False,
            cv=5,
            random_state=seed,
            max_iter=1000,
            scoring="accuracy",
            l1_ratios=(0,),
            use_legacy_attributes=False,
        ).fit(X, y)
        options = {
            "lr": LOGREG_LR[data],
            "max_epochs": LOGREG_EPOCHS[data],
            "batch_size": 5,
            "optimizer__weight_decay": 1 / (search.C_ * len(X)),
            "callbacks": [
                LRScheduler(
                    "LambdaLR",
                    lr_lambda=lambda step: 1 / np.sqrt(step + 1),
                    step_every="batch",
                )
            ],
        }
    else:
        options = {
            "lr": 0.1,
            "max_epochs": 10,
            "batch_size": 20,
            "optimizer__weight_decay": 0.001,
        }
    return SGDInfluenceClassifier(
        LogisticModel if model == "LogReg" else SmallNetwork,
        module__n_features=X.shape[1],
        criterion=nn.BCEWithLogitsLoss,
        # Single precision where 4,752 features make double precision slow.
        dtype="float32" if data == "20News" else "float64",
        random_state=seed,
        **options,
    )
