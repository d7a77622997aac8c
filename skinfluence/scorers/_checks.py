"""Checks that scorers share, made before any work is done."""

from collections.abc import Callable, Sequence
from numbers import Integral

from sklearn.base import is_classifier, is_regressor

from ..exceptions import NotRecordedError

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


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a parameter that is not one of its choices."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {list(choices)}, got {value!r}.")


def check_positive_integer(name: str, value: object) -> None:
    """Refuse a parameter that is not an integer of at least 1."""
    # bool is an Integral too.
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"`{name}` must be an integer of at least 1, got {value!r}.")
