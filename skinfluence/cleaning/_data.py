"""The data of a cleaner: samples, fit parameters and validation data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import (
    _check_method_params,
    _num_samples,
    column_or_1d,
    indexable,
)

from ..estimators import check_weights, has_columns, plain_targets

Samples: TypeAlias = ArrayLike | sparse.spmatrix | sparse.sparray
"""Rows in any container that scikit-learn can index, a DataFrame included."""

GivenValidation: TypeAlias = Samples | tuple[Any, ...] | None
"""`X_val` as passed by a user: samples, or a tuple with their targets."""


@dataclass(frozen=True)
class Validation:
    """Validation samples.

    Attributes
    ----------
    X, y : array-like of n_val rows
        The samples.
    sample_weight : array-like of shape (n_val,) or None
        Their weights.
    """

    X: Any
    y: Any
    sample_weight: Any = None

    def take(self, rows: np.ndarray) -> "Validation":
        """Return some of the samples."""
        weights = self.sample_weight
        return Validation(
            _safe_indexing(self.X, rows),
            _safe_indexing(self.y, rows),
            None if weights is None else _safe_indexing(weights, rows),
        )


@dataclass(frozen=True)
class CleaningData:
    """The data that a cleaner is fitted on.

    Attributes
    ----------
    X : array-like of n_samples rows
        The samples, in the user's container.
    y : ndarray of n_samples rows
        Their targets.
    params, final_params : mapping
        Further arguments of ``fit``, for the ranking and for the final estimator.
    validation : Validation or None
        Validation data, if it was given.
    groups : ndarray of n_samples rows, or None
        Group of each sample; a group is held out as a whole.
    y_held_out : ndarray of n_samples rows, or None
        The targets of samples that are held out, where they differ from `y`.
    classification : bool
        Whether the targets are classes.
    """

    X: Any
    y: np.ndarray
    params: Mapping[str, Any] = field(default_factory=dict)
    final_params: Mapping[str, Any] = field(default_factory=dict)
    validation: Validation | None = None
    groups: np.ndarray | None = None
    y_held_out: np.ndarray | None = None
    classification: bool = False

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: np.ndarray) -> "CleaningData":
        """Return some of the samples, with their fit parameters."""
        return CleaningData(
            _safe_indexing(self.X, rows),
            self.y[rows],
            _check_method_params(self.X, self.params, rows),
            _check_method_params(self.X, self.final_params, rows),
            self.validation,
            None if self.groups is None else self.groups[rows],
            None if self.y_held_out is None else self.y_held_out[rows],
            self.classification,
        )

    def weighted(self, weights: np.ndarray) -> "CleaningData":
        """Return the samples with their weights multiplied by these."""
        params, final_params = (
            {**fit, "sample_weight": weights * np.asarray(fit.get("sample_weight", 1))}
            for fit in (self.params, self.final_params)
        )
        return replace(self, params=params, final_params=final_params)

    def held_out(self, rows: np.ndarray) -> Validation:
        """Return some of the samples as validation data."""
        part = self.take(rows)
        y = part.y if part.y_held_out is None else part.y_held_out
        return Validation(part.X, y, part.params.get("sample_weight"))


def check_validation(
    X: Samples,
    X_val: GivenValidation,
    y_val: ArrayLike | None,
    sample_weight_val: ArrayLike | None,
) -> Validation | None:
    """Return the validation data that a user gave, or None if there is none.

    Cross-validation silently splits whatever has as many rows as X. It leaves a tuple
    alone; anything else of that length is refused.
    """
    whole = isinstance(X_val, tuple)
    if isinstance(X_val, tuple):
        X_val, y_val, sample_weight_val = _unpack(X_val, y_val, sample_weight_val)
    for name, rows in (("X_val", X_val), ("y_val", y_val)):
        if rows is not None:
            check_rows(rows, name)
    if not whole and X_val is not None and _num_samples(X_val) == _num_samples(X):
        raise ValueError(
            f"`X_val` must not have as many rows as X ({_num_samples(X)}): a "
            "cross-validation would silently split both. Pass the tuple "
            "X_val=(X_val, y_val) or X_val=(X_val, y_val, sample_weight_val), which is "
            "never split."
        )
    if X_val is None:
        if y_val is not None or sample_weight_val is not None:
            raise ValueError(
                "`X_val` must be given with `y_val` or `sample_weight_val`, got None."
            )
        return None
    if y_val is None:
        raise ValueError("`y_val` must be given with X_val, got None.")
    X_val, y_val = indexable(X_val, y_val)
    check_weights(sample_weight_val, _num_samples(X_val), "sample_weight_val", "X_val")
    return Validation(X_val, plain_targets(y_val, "y_val"), sample_weight_val)


def _unpack(
    X_val: tuple[Any, ...], y_val: object, weights: object
) -> tuple[Any, Any, Any]:
    if y_val is not None or weights is not None or len(X_val) not in (2, 3):
        raise ValueError(
            "`X_val`, a tuple, must be (X_val, y_val) or (X_val, y_val, "
            f"sample_weight_val), with nothing beside it, got {len(X_val)} items."
        )
    return X_val if len(X_val) == 3 else (*X_val, None)


def check_alike(y: np.ndarray, validation: Validation) -> None:
    """Refuse validation targets of another form than the training targets."""
    columns = [each.shape[1] if has_columns(each) else 1 for each in (y, validation.y)]
    if columns[0] != columns[1]:
        raise ValueError(
            "`y_val` must have as many targets for each sample as y "
            f"({columns[0]}), got {columns[1]}."
        )


def check_rows(data: object, name: str) -> None:
    """Refuse what no rows can be taken from."""
    try:
        _safe_indexing(data, [0])
    except Exception as error:
        raise TypeError(
            f"`{name}` must be a container whose rows can be selected, got "
            f"{kind_of_container(data)}. Turn it into an array, or a frame of pandas "
            "or polars (for dask: compute())."
        ) from error


def kind_of_container(data: object) -> str:
    """Return what tells of a container in an error."""
    dtype = getattr(data, "dtype", None)
    name = f"{type(data).__module__}.{type(data).__qualname__}"
    return name if dtype is None else f"{name} of dtype {dtype}"


def check_groups(groups: ArrayLike | None, n_samples: int) -> np.ndarray | None:
    """Return the group of each sample, as an array."""
    if groups is None:
        return None
    found: np.ndarray = column_or_1d(groups)
    if len(found) != n_samples:
        raise ValueError(
            f"`groups` must have one entry for each of the {n_samples} samples, got "
            f"{len(found)}."
        )
    # In an array of texts NaN is one of them.
    if missing := int(pd.isna(np.asarray(groups, dtype=object)).sum()):
        raise ValueError(
            f"`groups` must tell the group of every sample, got {missing} missing "
            "values. Give each of these samples a group of its own, or leave it out."
        )
    return found


def with_weights(
    fit_params: Mapping[str, object], sample_weight: ArrayLike | None
) -> dict[str, object]:
    """Return the fit parameters, and the sample weights among them if there are any."""
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    return {**fit_params, **weights}
