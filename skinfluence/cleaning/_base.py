"""What the cleaners share: validate, rank, remove, refit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn import get_config
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

from .._numbers import is_real
from .._summary import SummarizedEstimator
from .._warnings import warn_caller
from ..estimators import (
    check_weights,
    has_columns,
    plain_targets,
    represent,
    samples_frame,
    save_estimator,
)
from ._checks import check_accepts, check_choices
from ._containers import check_writable, kept_rows, targets_like
from ._data import (
    CleaningData,
    GivenValidation,
    Samples,
    check_alike,
    check_groups,
    check_rows,
    check_validation,
    with_weights,
)
from ._prediction import PredictionMixin
from ._ranking import Ranking
from ._recipe import CleaningRecipe
from ._removal import Cleaned
from ._representation import RepresentationMixin
from ._selection import Goal, check_classes_stay
from ._words import cleaning_in_words


def _resamples(cleaner: "BaseCleaner") -> bool:
    if not cleaner._action().resamples:
        raise AttributeError(
            f"`action` must be 'remove' or 'relabel' for fit_resample, got "
            f"{cleaner.action!r}: neither weights nor missing labels can be passed on. "
            "Use `sample_weight_` or `unlabelled_indices_` after fit."
        )
    if cleaner._transforms():
        raise AttributeError(
            "`output` must be 'prediction' for fit_resample, got 'representation': a "
            "step of a Pipeline either transforms or resamples."
        )
    return True


class BaseCleaner(
    SummarizedEstimator, RepresentationMixin, PredictionMixin, CleaningRecipe
):
    """Ranks the training samples, removes the most harmful, and refits."""

    def _choose(self, data: CleaningData) -> Goal:
        """Return how many samples to remove: this is where the two cleaners differ."""
        raise NotImplementedError

    def fit(
        self,
        X: Samples,
        y: ArrayLike | None = None,
        X_val: GivenValidation = None,
        y_val: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        **fit_params: object,
    ) -> Any:
        """Rank the samples, remove the most harmful, and refit on the others.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Training samples, in any container that scikit-learn can take rows from.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        X_val : array-like of shape (n_val, n_features), or tuple, optional
            Validation samples. They are refused if they have as many rows as X, because
            a cross-validation would split both: then pass the tuple ``(X_val, y_val)``
            or ``(X_val, y_val, sample_weight_val)`` as `X_val`.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), optional
            Their targets.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights of the samples, in training and, where samples are held
            out for validation, in their mean. Passed on as `fit_params` are.
        sample_weight_val : array-like of shape (n_val,), optional
            Non-negative weights of the validation samples in the mean.
        groups : array-like of shape (n_samples,), optional
            Group of each sample, such as a patient. Wherever samples are held out, for
            the ranking or to choose how many to remove, whole groups are.
        **fit_params : dict
            Passed to the ``fit`` of `estimator` and of `final_estimator`, or, with
            scikit-learn's metadata routing enabled, to those that request them.

        Returns
        -------
        self : object
            The fitted cleaner.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data is not as described. The cleaner then keeps its
            previous fit, if any.
        """
        with self._all_or_nothing():
            validation = X_val, y_val, sample_weight_val
            params = with_weights(fit_params, sample_weight)
            self._finish(*self._clean(X, y, validation, params, groups))
        return self

    def _finish(
        self, cleaned: CleaningData, ranking: Ranking, chosen: np.ndarray
    ) -> None:
        """Fit the final estimator."""
        final = self._refit(cleaned, ranking, chosen)
        self.final_estimator_ = final
        if hasattr(final, "classes_"):
            self.classes_ = final.classes_
        if self._transforms():
            row = _safe_indexing(cleaned.X, [0])
            self._n_features_out_ = represent(final, row).shape[1]

    @available_if(_resamples)
    def fit_resample(
        self,
        X: Samples,
        y: ArrayLike,
        X_val: GivenValidation = None,
        y_val: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        **fit_params: object,
    ) -> tuple[Any, Any]:
        """Rank the samples and return those that are kept.

        There is no final fit, unless the cleaner had a final model before: that of
        other samples would not go with what is returned.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        X_val, y_val : array-like, optional
            Validation data, as in :meth:`fit`.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights of the samples, as in :meth:`fit`.
        sample_weight_val : array-like of shape (n_val,), optional
            Non-negative weights of the validation samples in the mean.
        groups : array-like of shape (n_samples,), optional
            Group of each sample, such as a patient. Wherever samples are held out, for
            the ranking or to choose how many to remove, whole groups are.
        **fit_params : dict
            As in :meth:`fit`.

        Returns
        -------
        X_resampled, y_resampled : array-like of n_samples - n_removed rows
            The kept samples, in the containers and dtypes that were given.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data is not as described. The cleaner then keeps its
            previous fit, if any.
        """
        had_model = hasattr(self, "final_estimator_")
        with self._all_or_nothing():
            validation = X_val, y_val, sample_weight_val
            if self._action().by_label or getattr(self, "decisions", None) is not None:
                check_writable(y)
            params = with_weights(fit_params, sample_weight)
            cleaned, ranking, chosen = self._clean(X, y, validation, params, groups)
            if had_model:
                self._finish(cleaned, ranking, chosen)
        X_kept = kept_rows(X, self.sample_indices_)
        return X_kept, targets_like(y, cleaned.y, self.sample_indices_)

    def _clean(
        self,
        X: Samples,
        y: Any,
        validation: tuple[Any, Any, Any],
        fit_params: dict[str, object],
        groups: ArrayLike | None,
    ) -> tuple[CleaningData, Ranking, np.ndarray]:
        """Check everything, rank, and clean; return what a final fit needs."""
        self._validate_params()
        check_choices(self)
        data = self._check_data(X, y, validation, fit_params, groups)
        cleaned, ranking, chosen = self._act(data)
        if ranking.estimator is not None:
            self.estimator_ = ranking.estimator
        if ranking.runs:  # none with `decisions`
            self.query_ = getattr(ranking.runs[0].scorer, "query", None)
            self.transition_ = ranking.transition
            self.label_probability_ = ranking.label_probability
        self.influence_ = ranking.scores
        self.standard_error_ = ranking.over_runs.standard_error
        self.over_runs_ = ranking.over_runs
        self.ranking_ = ranking.order
        self.support_ = cleaned.support
        self.sample_indices_ = np.flatnonzero(cleaned.support)
        self.removed_indices_ = chosen[~cleaned.support[chosen]]
        self.n_removed_ = len(self.removed_indices_)
        self._columns_ = cleaned.columns
        for name, value in cleaned.attributes.items():
            setattr(self, name, value)
        self._data_ = data
        return cleaned.data, ranking, chosen

    def _act(self, data: CleaningData) -> tuple[Cleaned, Ranking, np.ndarray]:
        """Rank and clean; return also the ranking and the chosen samples."""
        goal = self._choose(data)
        ranking = self._rank(data, goal)
        codes = self._codes(data)
        unlimited, order = self._orders(data, ranking, goal.beneficial)
        chosen = order[: goal.number]
        _tell_limit(data.y, unlimited[: goal.number], chosen)
        action = self._action()
        left = action.codes_left(codes, ranking, chosen)
        check_classes_stay(data.y, codes, left, len(chosen))
        return action.act(self, data, ranking, chosen), ranking, chosen

    def _check_data(
        self,
        X: Samples,
        y: Any,
        given: tuple[Any, Any, Any],
        fit_params: dict[str, object],
        groups: ArrayLike | None,
    ) -> CleaningData:
        # SciPy's dok_matrix is a dict too.
        if isinstance(X, (Dataset, dict)) and not sparse.issparse(X):
            raise TypeError(
                "X must be an array, a DataFrame, a list or a sparse matrix, whose "
                f"rows can be selected, got {type(X).__name__}."
            )
        X, y = indexable(X, y)
        if _num_samples(X) == 0:
            raise ValueError("X must have at least one sample, got 0.")
        check_rows(X, "X")
        if y is not None:
            check_rows(y, "y")
        y, tags = plain_targets(y), get_tags(self)
        y = validate_data(
            self,
            X="no_validation",
            y=y,
            multi_output=tags.target_tags.multi_output
            or (has_columns(y) and tags.classifier_tags.multi_label),
            y_numeric=tags.estimator_type == "regressor",
        )
        classification = tags.estimator_type == "classifier"
        if classification:
            check_classification_targets(y)
        if classification and has_columns(y) and is_real(self.max_class_fraction):
            raise ValueError(
                "`max_class_fraction` must be 'auto' or None where y is an indicator "
                f"matrix, whose rows have no class, got {self.max_class_fraction!r}."
            )
        check_targets = getattr(self._scorer(), "check_targets", None)
        if check_targets is not None and getattr(self, "decisions", None) is None:
            check_targets(self._estimator(), y)
        # Records n_features_in_ and the names only: X may hold texts or categories, and
        # each estimator checks the values itself.
        validate_data(self, X=X, y="no_validation", skip_check_array=True)
        validation = check_validation(X, *given)
        if validation is not None:
            check_alike(y, validation)
            validate_data(
                self,
                X=validation.X,
                reset=False,
                y="no_validation",
                skip_check_array=True,
            )
        params, final_params = self._route(fit_params)
        for routed in (params, final_params):
            check_weights(routed.get("sample_weight"), len(y))
        groups = check_groups(groups, len(y))
        data = CleaningData(
            X,
            y,
            params,
            final_params,
            validation,
            groups,
            classification=classification,
        )
        self._action().check_data(self, data)
        return data

    def _route(self, fit_params: dict[str, object]) -> tuple[Any, Any]:
        """Return the fit parameters of the ranking and of the final estimator."""
        if get_config()["enable_metadata_routing"]:
            routed = process_routing(self, "fit", **fit_params)
            ranked = routed.estimator.fit
            if self.final_estimator is None:
                return ranked, ranked
            return ranked, routed.final_estimator.fit
        check_accepts(self._estimator(), "estimator", fit_params)
        check_accepts(self._final(), "final_estimator", fit_params)
        return fit_params, fit_params

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Clear the fitted attributes, and restore them on an error."""
        # A failed or interrupted fit must not leave a mixture of two fits behind.
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

    def _facts(self) -> dict[str, str]:
        return cleaning_in_words(self)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the cleaner to a folder, fitted or not, without pickle.

        With its networks and their trajectories, the data that it was fitted on, and
        what it found. :func:`~skinfluence.load_estimator` loads it. A Pipeline that
        holds it is written by :func:`~skinfluence.save_estimator`.

        Parameters
        ----------
        path : str or Path
            A new or empty folder; it appears under its name once it is complete.
        overwrite : bool, default=False
            Whether to replace an estimator that was saved there. Nothing else is ever
            replaced.

        Raises
        ------
        TypeError
            If a part can only be pickled, such as a lambda or a ``joblib.Memory``.
        TrajectoryFileError
            If the folder is in use or cannot be written; its old content is kept.
        """
        save_estimator(self, path, overwrite=overwrite)

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

    def _scores(self) -> dict[str, np.ndarray]:
        """Return what the order is by, and how far several runs agree."""
        scores = {"score": self.influence_}
        if (self.over_runs_.n_used > 1).any():
            scores["standard_error"] = self.standard_error_
            scores["sign_agreement"] = self.over_runs_.sign_agreement
        probability = getattr(self, "label_probability_", None)  # none with `decisions`
        if probability is not None:
            scores["label_probability"] = probability
        return scores

    def to_frame(self) -> pd.DataFrame:
        """Return the training samples as a table, in the order of removal.

        Returns
        -------
        DataFrame of n_samples rows
            The columns ``score``; ``standard_error`` and ``sign_agreement``, where
            several runs or folds scored a sample; ``label_probability`` (how probable
            the given label is to be right), where it is estimated; ``label``,
            ``prediction`` and ``probability`` (the final estimator's prediction and its
            probability) and ``removed``; or
            ``proposal`` and ``relabelled``; or ``sample_weight``. Its index holds the
            row numbers, or the index of a DataFrame. After :meth:`fit_resample` there
            are no predictions; a regressor has no probabilities; several outputs have
            a column each.
        """
        check_is_fitted(self)
        return samples_frame(
            self._data_.X,
            self._data_.y,
            self._scores(),
            self.ranking_,
            self._columns_,
            getattr(self, "final_estimator_", None),
        )


def _tell_limit(y: np.ndarray, first: np.ndarray, chosen: np.ndarray) -> None:
    """Warn of samples that a limit keeps, which the ranking puts first."""
    kept = np.setdiff1d(first, chosen)
    if not len(kept):
        return
    classes, counts = np.unique(y[kept], return_counts=True)
    told = ", ".join(
        f"{count} of class {label!r}"
        for label, count in zip(classes.tolist(), counts, strict=True)
    )
    warn_caller(
        f"`max_class_fraction` keeps {told}, which the ranking puts among the "
        f"{len(first)} most harmful samples. Review them, or set it to None.",
        UserWarning,
    )
