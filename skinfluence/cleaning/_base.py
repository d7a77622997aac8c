"""What the cleaners share: validate, rank, remove, refit."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn import get_config
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _num_samples,
    check_is_fitted,
    indexable,
    validate_data,
)
from torch.utils.data import Dataset

from ..estimators import represent
from ._checks import check_accepts, check_choices
from ._data import CleaningData, check_validation
from ._frame import samples_frame
from ._prediction import PredictionMixin
from ._recipe import CleaningRecipe
from ._representation import RepresentationMixin
from ._runs import Ranking
from ._selection import beneficial_removals, check_classes_stay, check_n_remove


def _resamples(cleaner: Any) -> bool:
    if cleaner._transforms():
        raise AttributeError(
            "`transform` must be None for fit_resample, got 'representation': a step "
            "of a Pipeline either transforms or resamples."
        )
    return True


class BaseCleaner(RepresentationMixin, PredictionMixin, CleaningRecipe):
    """Ranks the training samples, removes the most harmful, and refits."""

    def _choose(self, data: CleaningData) -> tuple[Any, bool]:
        """Return `n_remove`, and whether only negative scores are removed.

        This is where the two cleaners differ.
        """
        raise NotImplementedError

    def fit(
        self,
        X: Any,
        y: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        *,
        sample_weight_val: Any = None,
        **fit_params: Any,
    ) -> Any:
        """Rank the samples, remove the most harmful, and refit on the others.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Training samples, in any container that scikit-learn can take rows from.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        X_val : array-like of shape (n_val, n_features), or tuple, optional
            Validation samples. With as many rows as X they are refused, since a
            cross-validation would cut both alike: pass the tuple ``(X_val, y_val)`` or
            ``(X_val, y_val, sample_weight_val)`` as `X_val` then.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), optional
            Their targets.
        sample_weight_val : array-like of shape (n_val,), optional
            Non-negative weights of the validation samples in the mean.
        **fit_params : dict
            Passed to the ``fit`` of `estimator` and of `final_estimator`, or, with
            scikit-learn's metadata routing enabled, to those that request them. Above
            all ``sample_weight``, which the samples set apart for validation keep.

        Returns
        -------
        self : object
            The fitted cleaner.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data is not as described. What was fitted before then
            stays as it was.
        """
        with self._all_or_nothing():
            data, ranking, removed = self._clean(
                X, y, (X_val, y_val, sample_weight_val), fit_params
            )
            final = self._refit(data, ranking, removed)
            self.final_estimator_ = final
            if hasattr(final, "classes_"):
                self.classes_ = final.classes_
            if self._transforms():
                row = _safe_indexing(data.X, [0])
                self._n_features_out_ = represent(final, row).shape[1]
        return self

    @available_if(_resamples)
    def fit_resample(
        self,
        X: Any,
        y: Any,
        X_val: Any = None,
        y_val: Any = None,
        *,
        sample_weight_val: Any = None,
        **fit_params: Any,
    ) -> tuple[Any, Any]:
        """Rank the samples and return those that are kept, without a final fit.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        X_val, y_val : array-like, optional
            Validation data, as in :meth:`fit`.
        sample_weight_val : array-like of shape (n_val,), optional
            Non-negative weights of the validation samples in the mean.
        **fit_params : dict
            As in :meth:`fit`.

        Returns
        -------
        X_resampled, y_resampled : array-like of n_samples - n_removed rows
            The kept samples, in the containers and dtypes that were given.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data is not as described. What was fitted before then
            stays as it was.
        """
        with self._all_or_nothing():
            self._clean(X, y, (X_val, y_val, sample_weight_val), fit_params)
        kept = [_safe_indexing(part, self.sample_indices_) for part in indexable(X, y)]
        if sparse.issparse(X):
            kept[0] = kept[0].asformat(X.format)
        return kept[0], kept[1]

    def _clean(
        self, X: Any, y: Any, given: tuple[Any, Any, Any], fit_params: dict[str, Any]
    ) -> tuple[CleaningData, Ranking, np.ndarray]:
        """Check everything, rank, and say what is removed."""
        self._validate_params()
        check_choices(self)
        data = self._check_data(X, y, given, fit_params)
        n_remove, beneficial = self._choose(data)
        ranking = self._rank(data, () if beneficial else [n_remove])
        codes = self._codes(data)
        order = beneficial_removals(ranking, codes) if beneficial else ranking.order
        removed = order[: check_n_remove(n_remove, len(data), len(data))]
        check_classes_stay(data.y, codes, removed)
        self.estimator_ = ranking.estimator
        self.influence_ = ranking.scores
        self.ranking_ = ranking.order
        self.removed_indices_ = removed
        self.n_removed_ = len(removed)
        self.support_ = ~np.isin(np.arange(len(data)), removed)
        self.sample_indices_ = np.flatnonzero(self.support_)
        self._data_ = data
        return data, ranking, removed

    def _check_data(
        self, X: Any, y: Any, given: tuple[Any, Any, Any], fit_params: dict[str, Any]
    ) -> CleaningData:
        if isinstance(X, (Dataset, dict)) and not sparse.issparse(X):
            raise TypeError(
                "X must be an array, a frame, a list or a sparse matrix, whose rows "
                f"can be taken out, got {type(X).__name__}."
            )
        X, y = indexable(X, y)
        if _num_samples(X) == 0:
            raise ValueError("X must have at least one sample, got 0.")
        y = validate_data(
            self,
            X="no_validation",
            y=y,
            multi_output=get_tags(self).target_tags.multi_output,
            y_numeric=is_regressor(self),
        )
        if is_classifier(self):
            check_classification_targets(y)
        validate_data(self, X=X, y="no_validation", skip_check_array=True)
        validation = check_validation(X, *given)
        if validation is not None:
            validate_data(
                self,
                X=validation.X,
                reset=False,
                y="no_validation",
                skip_check_array=True,
            )
        return CleaningData(X, y, *self._route(fit_params), validation)

    def _route(self, fit_params: dict[str, Any]) -> tuple[Any, Any]:
        """Return what the ranking and the final estimator's ``fit`` are given."""
        if get_config()["enable_metadata_routing"]:
            routed = process_routing(self, "fit", **fit_params)
            own = routed.estimator.fit
            return (
                own,
                own if self.final_estimator is None else routed.final_estimator.fit,
            )
        check_accepts(self._estimator(), "estimator", fit_params)
        check_accepts(self._final(), "final_estimator", fit_params)
        return fit_params, fit_params

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Forget what was fitted before, or put it back if there is an error."""
        before = self.__dict__.copy()
        for name in before:
            if name.endswith("_"):
                delattr(self, name)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "support_")

    def get_support(self, indices: bool = False) -> np.ndarray:
        """Return which samples are kept.

        Parameters
        ----------
        indices : bool, default=False
            Whether to return row numbers instead of a mask.

        Returns
        -------
        ndarray of shape (n_samples,), bool, or (n_samples - n_removed,), int
            The mask, or the row numbers.
        """
        check_is_fitted(self)
        return self.sample_indices_ if indices else self.support_

    def to_frame(self) -> pd.DataFrame:
        """Return the training samples as a table, in the order of removal.

        Returns
        -------
        DataFrame of n_samples rows
            The columns ``score``, ``label``, ``prediction`` and ``probability`` (what
            the final estimator predicts, and how probable that is to it) and
            ``removed``. Its index holds the row numbers, or the index of a frame. After
            :meth:`fit_resample` there are no predictions; a regressor has no
            probabilities; several outputs have a column each.
        """
        check_is_fitted(self)
        return samples_frame(
            self._data_.X,
            self._data_.y,
            self.influence_,
            self.ranking_,
            self.support_,
            getattr(self, "final_estimator_", None),
        )
