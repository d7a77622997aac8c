"""Checks that scorers share, made before any work is done."""

from collections.abc import Callable, Collection, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import is_classifier, is_regressor
from torch.optim import SGD

from .._numbers import RANDOM_STATE, Count, Number
from ..estimators import has_probabilities
from ..exceptions import NotRecordedError

SHARED: dict[str, list[Any]] = {
    "batch_size": [Count(1)],
    "last_epochs": [Count(1), None],
    "max_iter": [Count(1)],
    "random_state": RANDOM_STATE,
    "tol": [Number(Real, 0, None, closed="neither")],
    "verify": [Count(0)],
}
"""Constraints on parameters, the same for all scorers that have one of the name."""

EstimatorCheck = Callable[[object, str], None]
"""``check(estimator, scorer)`` raises an error that names the scorer."""


def check_own(estimator: object, scorer: str) -> None:
    """Refuse an estimator that is not one of the library's."""
    if not hasattr(estimator, "influence"):
        raise TypeError(
            f"`estimator` must have a method `influence` for the scorer {scorer!r}, "
            f"got {type(estimator).__name__}. Use an SGDInfluenceClassifier or "
            "SGDInfluenceRegressor, or another scorer such as 'loss'."
        )


def check_recorded(estimator: object, scorer: str) -> None:
    """Refuse an estimator that does not record its training."""
    check_own(estimator, scorer)
    if getattr(estimator, "record", "all") is None:
        raise NotRecordedError(
            f"`estimator` must record its training for the scorer {scorer!r}, got "
            "record=None. Use record='all', or a number of last epochs."
        )


def check_retraceable(estimator: object, scorer: str) -> None:
    """Refuse an estimator whose training cannot be retraced."""
    check_recorded(estimator, scorer)
    if getattr(estimator, "record", "all") == "replay":
        raise NotRecordedError(
            f"`estimator` must be retraceable for the scorer {scorer!r}, got "
            "record='replay'. Use record='all', or the scorer 'exact'."
        )


def check_sgd(estimator: object, scorer: str) -> None:
    """Refuse an estimator that trains with another optimizer than SGD."""
    optimizer = getattr(estimator, "optimizer_", None)
    kind = getattr(estimator, "optimizer", None) if optimizer is None else optimizer
    kind = kind if isinstance(kind, type) else type(kind)
    if kind is not SGD:
        raise ValueError(
            f"`optimizer` must be torch.optim.SGD for the scorer {scorer!r}, got "
            f"{kind.__name__}. Use the scorer 'influence'."
        )


def check_classifier(estimator: object, scorer: str) -> None:
    """Refuse an estimator that is not a classifier."""
    if not is_classifier(estimator):
        raise TypeError(
            f"`estimator` must be a classifier for the scorer {scorer!r}, got "
            f"{type(estimator).__name__}."
        )


def check_predictor(estimator: object, scorer: str) -> None:
    """Refuse an estimator that is neither a classifier nor a regressor."""
    if not is_classifier(estimator) and not is_regressor(estimator):
        raise TypeError(
            "`estimator` must be a classifier or a regressor for the scorer "
            f"{scorer!r}, got {type(estimator).__name__}."
        )


def check_probabilities(estimator: object, scorer: str) -> None:
    """Refuse an estimator without class probabilities."""
    if not hasattr(estimator, "predict_proba"):
        raise TypeError(
            f"`estimator` must have `predict_proba` for the scorer {scorer!r}, got "
            f"{type(estimator).__name__}."
        )


def check_class_probabilities(estimator: object, scorer: str) -> None:
    """Refuse one of the library's estimators whose outputs give no probabilities."""
    if not has_probabilities(estimator):
        raise ValueError(
            "`estimator` must predict probabilities of classes for the scorer "
            f"{scorer!r}: those of {type(estimator).__name__} with its criterion and "
            "predict_nonlinearity are not known to be. Use the scorer "
            "'area_under_margin'."
        )


def is_one_of(value: object, choices: Collection[str]) -> bool:
    """Whether a value is one of some texts; an array has no equal among them."""
    return isinstance(value, str) and value in choices


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a parameter that is not one of its choices."""
    if not is_one_of(value, choices):
        raise ValueError(f"`{name}` must be one of {list(choices)}, got {value!r}.")


def check_scores(scores: ArrayLike, n_samples: int) -> np.ndarray:
    """Return a scorer's scores; refuse them if they are no ranking."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != (n_samples,) or np.isnan(scores).any():
        raise ValueError(
            "`scorer` must return one number for each training sample, an array of "
            f"shape ({n_samples},) without NaN, got shape {scores.shape} with "
            f"{np.isnan(scores).sum()} NaN."
        )
    # Equal scores would silently rank the samples by row number.
    if n_samples > 1 and (scores == scores[0]).all():
        raise ValueError(
            "`scorer` must distinguish the training samples, but all "
            f"{n_samples} have the score {scores[0]:g}, as happens if y has only one "
            "class or the estimator has learned nothing. Use another scorer."
        )
    return scores
