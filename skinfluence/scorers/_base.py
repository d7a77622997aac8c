"""The signature that all scorers share, and their checks before any work."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils._param_validation import validate_parameter_constraints

from .._parallel import check_n_jobs
from ..estimators import check_at, check_smoothing, has_columns, is_multilabel
from ..training import differentiating
from ._checks import SHARED, EstimatorCheck

NAMED_SCORERS: dict[str, type["BaseScorer"]] = {}
"""The scorers that have a name; each class registers itself."""


@dataclass(frozen=True, slots=True)
class ScoringData:
    """The training and validation data of one call of a scorer."""

    X: ArrayLike | None
    y: ArrayLike | None
    X_val: ArrayLike | None
    y_val: ArrayLike | None
    sample_weight_val: ArrayLike | None

    @property
    def validation(self) -> tuple[ArrayLike | None, ArrayLike | None, ArrayLike | None]:
        """X_val, y_val and their weights."""
        return self.X_val, self.y_val, self.sample_weight_val


class BaseScorer(BaseEstimator, ABC):
    """Base class of the scorers: subclasses declare needs and implement ``_score``.

    ``class MyScorer(BaseScorer, name="mine")`` registers a public name.
    """

    # The public name, or that of the class, for messages.
    _name: ClassVar[str]
    # What a subclass needs: checked in this order, the data in each call.
    _estimator_checks: ClassVar[tuple[EstimatorCheck, ...]] = ()
    _required_data: ClassVar[tuple[str, ...]] = ()
    _of_one_label: ClassVar[bool] = False  # of each sample, for classifiers

    def __init_subclass__(cls, *, name: str | None = None, **options: object) -> None:
        super().__init_subclass__(**options)
        cls._name = name or cls.__name__
        if name is not None:
            NAMED_SCORERS[name] = cls

    def check_estimator(self, estimator: object) -> None:
        """Raise an error if the scorer cannot score with an estimator.

        Parameters
        ----------
        estimator : object
            The estimator, fitted or not.

        Raises
        ------
        TypeError
            If the estimator is not of the kind that the scorer needs.
        NotRecordedError
            If the scorer needs a recorded run and the estimator does not record.
        ValueError
            If a parameter of the scorer is invalid, or does not suit the estimator.
        """
        parameters = {k: v for k, v in vars(self).items() if k in SHARED}
        validate_parameter_constraints(SHARED, parameters, type(self).__name__)
        check_n_jobs(getattr(self, "n_jobs", None))
        check_at(getattr(self, "at", "final"))
        check_smoothing(getattr(self, "smoothing", None))
        self._check_parameters()
        for check in self._estimator_checks:
            check(estimator, self._name)
        self._check_estimator(estimator)

    @differentiating
    def __call__(
        self,
        estimator: object,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        *,
        sample_weight_val: ArrayLike | None = None,
    ) -> np.ndarray:
        """Score the training samples.

        Parameters
        ----------
        estimator : object
            The estimator, fitted on X and y where the scorer looks at the model. It is
            not changed.
        X, y : array-like of n_samples rows, optional
            The training samples, in the containers that were passed to ``fit``. Scorers
            that work on the recorded run do not need them.
        X_val, y_val : array-like of n_val rows, optional
            Validation data, for the scorers that use it.
        sample_weight_val : array-like of shape (n_val,), optional
            Weights of the validation samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            The scores: the lower, the sooner a sample is removed.

        Raises
        ------
        TypeError, NotRecordedError
            The errors of :meth:`check_estimator`.
        ValueError
            If a parameter is invalid, or data that the scorer needs is missing.
        """
        # All checks come first: the work may take hours.
        self.check_estimator(estimator)
        data = ScoringData(X, y, X_val, y_val, sample_weight_val)
        self._check_data(data)
        self.check_targets(estimator, y)
        return self._score(estimator, data)

    def check_targets(self, estimator: object, y: ArrayLike | None) -> None:
        """Raise an error if the scorer cannot score such targets.

        Parameters
        ----------
        estimator : object
            The estimator, fitted or not.
        y : array-like of n_samples rows, optional
            The targets; by default those that the estimator was fitted on.

        Raises
        ------
        ValueError
            If samples have several labels, and the scorer is of one.
        """
        # Some scorers take no estimator.
        if not self._needs_one_label(estimator):
            return
        if is_multilabel(estimator) or (is_classifier(estimator) and has_columns(y)):
            raise ValueError(
                f"`y` must hold one label for each sample for the scorer {self._name!r}"
                ", got an indicator matrix of several. Use the scorer 'influence', or "
                "'mean_loss'."
            )

    def _needs_one_label(self, estimator: object) -> bool:
        return self._of_one_label

    def _check_data(self, data: ScoringData) -> None:
        """Raise an error if data that the scorer needs is missing."""
        for name in self._required_data:
            if getattr(data, name) is None:
                raise ValueError(
                    f"`{name}` must be given for the scorer {self._name!r}, got None."
                )

    def _check_parameters(self) -> None:
        """Raise an error if a parameter of the scorer is invalid."""

    def _check_estimator(self, estimator: BaseEstimator) -> None:
        """Raise an error for what the shared checks do not cover."""

    @abstractmethod
    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the scores, once everything is checked."""
