"""What scorers ask of an estimator, said before any work."""

from collections.abc import Sequence
from typing import Any

from sklearn.base import BaseEstimator, is_classifier

from ..estimators import check_query
from ..exceptions import NotRecordedError


def check_own(estimator: Any, scorer: str) -> None:
    """Refuse what is not one of the library's estimators."""
    if not hasattr(estimator, "influence"):
        raise TypeError(
            f"`estimator` must have a method `influence` for the scorer {scorer!r}, "
            f"got {type(estimator).__name__}. Use an SGDInfluenceClassifier or "
            "SGDInfluenceRegressor, or another scorer such as 'loss'."
        )


def check_recorded(estimator: Any, scorer: str) -> None:
    """Refuse an estimator that does not record its training."""
    check_own(estimator, scorer)
    if getattr(estimator, "record", "all") is None:
        raise NotRecordedError(
            f"`estimator` must record its training for the scorer {scorer!r}, got "
            "record=None. Use record='all', or a number of last epochs."
        )


def check_classifies(estimator: Any, scorer: str) -> None:
    """Refuse what is no classifier."""
    if not is_classifier(estimator):
        raise TypeError(
            f"`estimator` must be a classifier for the scorer {scorer!r}, got "
            f"{type(estimator).__name__}."
        )


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a parameter of a scorer that is not one of its choices."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {list(choices)}, got {value!r}.")


class OfRecordedRun(BaseEstimator):
    """A scorer that asks the run that an estimator has recorded."""

    _name: str
    _of_classifiers = False

    def check_estimator(self, estimator: Any) -> None:
        """Raise an error if there is, or will be, no recorded run to be asked.

        Parameters
        ----------
        estimator : object
            The estimator, fitted or not.

        Raises
        ------
        TypeError
            If it is not one of the library's estimators, or no classifier where the
            scorer needs one.
        NotRecordedError
            If it does not record its training.
        ValueError
            If a parameter of the scorer is not as described.
        """
        if self._of_classifiers:
            check_classifies(estimator, self._name)
        check_recorded(estimator, self._name)
        check_query(estimator, getattr(self, "query", "loss"))
        self._check_parameters()

    def _check_parameters(self) -> None:
        """Refuse parameters of the scorer that are not as described."""
