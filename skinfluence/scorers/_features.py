"""The features of detectors and neighbours: the input, or its representation."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from torch import nn

from ..estimators import represent
from ._checks import is_one_of


def features_of(
    features: str, estimator: BaseEstimator, X: ArrayLike | None
) -> ArrayLike | None:
    """Return the samples' features, one row each."""
    if features == "representation":
        return represent(estimator, X)
    if getattr(X, "ndim", 2) > 2:
        images = np.asarray(X)
        return images.reshape(len(images), -1)
    return X


def check_features(features: str, estimator: BaseEstimator, scorer: str) -> None:
    """Refuse unknown features, and an estimator that does not provide them."""
    if not is_one_of(features, ("input", "representation")):
        raise ValueError(
            f"`features` must be 'input' or 'representation', got {features!r}."
        )
    if features == "input":
        return
    if not hasattr(estimator, "forward_iter"):
        raise TypeError(
            "`estimator` must be a network for features='representation' of the scorer "
            f"{scorer!r}, got {type(estimator).__name__}. Use features='input'."
        )
    # A module class is instantiated in fit: only an instance can be inspected.
    module = getattr(estimator, "module", None)
    if isinstance(module, nn.Module) and not any(
        isinstance(part, nn.Linear) for part in module.modules()
    ):
        raise TypeError(
            "`estimator` must have a module with a torch.nn.Linear for "
            f"features='representation' of the scorer {scorer!r}, got "
            f"{type(module).__name__}. Use features='input'."
        )
