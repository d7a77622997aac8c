"""What detectors and neighbours see of a sample: its input, or its representation."""

from typing import Any

import numpy as np
from torch import nn

from ..estimators import represent


def features_of(features: str, estimator: Any, X: Any) -> Any:
    """Return the samples' features, one row each."""
    if features == "representation":
        return represent(estimator, X)
    if getattr(X, "ndim", 2) > 2:
        return np.asarray(X).reshape(len(X), -1)
    return X


def check_features(features: Any, estimator: Any, name: str) -> None:
    """Refuse other features than the two, and an estimator that has not got them."""
    if features not in ("input", "representation"):
        raise ValueError(
            f"`features` must be 'input' or 'representation', got {features!r}."
        )
    if features == "input":
        return
    if not hasattr(estimator, "forward_iter"):
        raise TypeError(
            "`estimator` must be a network for features='representation' of the scorer "
            f"{name}, got {type(estimator).__name__}. Use features='input'."
        )
    module = getattr(estimator, "module", None)
    if isinstance(module, nn.Module) and not any(
        isinstance(part, nn.Linear) for part in module.modules()
    ):
        raise TypeError(
            "`estimator` must have a module with a torch.nn.Linear for "
            f"features='representation' of the scorer {name}, got "
            f"{type(module).__name__}. Use features='input'."
        )
