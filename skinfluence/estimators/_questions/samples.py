"""The samples to leave out: rows, groups of rows, or weights, checked."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

Samples: TypeAlias = Sequence[ArrayLike] | np.ndarray | Tensor | None
"""Rows, a mask, groups of either, or a matrix; None for every single sample."""


def sample_rows(samples: object, n_samples: int, name: str = "samples") -> np.ndarray:
    """Return row numbers, from rows or from a mask, without duplicates."""
    rows = _array(samples, name)
    if rows.size == 0:
        rows = rows.astype(np.intp)
    if rows.ndim == 1 and rows.dtype == bool:
        if len(rows) != n_samples:
            raise ValueError(
                f"`{name}`, a mask, must have one entry for each of the {n_samples} "
                f"samples, got {len(rows)}."
            )
        return np.flatnonzero(rows)
    if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(
            f"`{name}` must be a one-dimensional array of row numbers or a mask, got "
            f"dtype {rows.dtype} and shape {rows.shape} of {samples!r:.200}."
        )
    if rows.size and not (rows.min() >= 0 and rows.max() < n_samples):
        raise ValueError(
            f"`{name}` must be rows of the training data, 0 to {n_samples - 1}, got "
            f"{rows.min()} to {rows.max()}."
        )
    values, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"`{name}` must name each sample once, got {values[counts > 1][0]} "
            f"{counts.max()} times."
        )
    # torch takes small unsigned integers for a mask.
    return rows.astype(np.intp)


def run_weights(samples: Samples, used: Tensor) -> Tensor:
    """Return the samples' weights in each counterfactual run, (runs, n_samples).

    Parameters
    ----------
    samples : None, array-like of int, sequence of array-likes, or matrix
        What to leave out, as in ``counterfactual_influence``.
    used : Tensor of shape (n_samples,), bool
        Whether a repeated step uses the sample.
    """
    weights = _weights(samples, len(used))
    empty = ~(weights[:, used] != 0).any(1)
    if empty.any():
        raise ValueError(
            "`samples` must leave something to train on, but group "
            f"{int(empty.nonzero()[0])} empties every batch."
        )
    return weights


def sample_groups(samples: Samples, n_samples: int) -> list[np.ndarray]:
    """Return the rows of each group of samples, at least one each.

    Parameters
    ----------
    samples : None, array-like of int, sequence of array-likes, or matrix of bool
        Every single sample (None), rows or a mask for single samples, or groups.
    n_samples : int
        Number of training samples.
    """
    if samples is None:
        return [*np.arange(n_samples)[:, None]]
    if _is_matrix(samples):
        matrix = np.asarray(samples)
        _check_matrix(matrix, n_samples)
        if matrix.dtype != bool:
            raise ValueError(
                "`samples`, a matrix, must be boolean (groups), got dtype "
                f"{matrix.dtype}."
            )
        samples = [np.flatnonzero(row) for row in matrix]
    if not isinstance(samples, (list, tuple)):
        samples = np.asarray(samples)
        if samples.ndim == 0:
            raise ValueError(
                "`samples` must be None, a sequence of row numbers, a mask, or groups "
                f"of either, got {samples.item()!r}."
            )
    if len(samples) and np.ndim(samples[0]) > 0:
        groups = [
            sample_rows(group, n_samples, f"samples[{k}]")
            for k, group in enumerate(samples)
        ]
    else:
        groups = [*sample_rows(samples, n_samples)[:, None]]
    for k, group in enumerate(groups):
        if len(group) == 0:
            raise ValueError(
                f"`samples` must be groups of at least one sample, got an empty one "
                f"at position {k}."
            )
    return groups


def _array(samples: object, name: str) -> np.ndarray:
    """Return the samples as an array; refuse what is none."""
    try:
        return np.asarray(samples)
    except ValueError:
        raise ValueError(
            f"`{name}` must be a one-dimensional array of row numbers or a mask, got "
            f"{samples!r:.200}."
        ) from None


def _weights(samples: Samples, n_samples: int) -> Tensor:
    if _is_matrix(samples) and np.asarray(samples).dtype != bool:
        return _matrix_weights(np.asarray(samples), n_samples)
    groups = sample_groups(samples, n_samples)
    weights = torch.ones(len(groups), n_samples, dtype=torch.float64)
    for row, group in enumerate(groups):
        weights[row, torch.from_numpy(group)] = 0.0
    return weights


def _is_matrix(samples: Samples) -> bool:
    return isinstance(samples, (np.ndarray, Tensor)) and samples.ndim == 2


def _check_matrix(matrix: np.ndarray, n_samples: int) -> None:
    if matrix.shape[1] != n_samples:
        raise ValueError(
            f"`samples`, a matrix, must have shape (n_groups, {n_samples}), got "
            f"{matrix.shape}."
        )


def _matrix_weights(matrix: np.ndarray, n_samples: int) -> Tensor:
    _check_matrix(matrix, n_samples)
    if matrix.dtype.kind not in "f":
        raise ValueError(
            "`samples`, a matrix, must be boolean (groups) or floating point "
            f"(weights), got dtype {matrix.dtype}."
        )
    if not np.isfinite(matrix).all():
        raise ValueError("`samples`, a matrix of weights, must be finite, got NaN.")
    return torch.from_numpy(matrix.astype(np.float64))
