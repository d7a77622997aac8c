"""Validation of data in any container, before any work."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import is_regressor
from sklearn.utils.validation import (
    _check_y,
    check_array,
    check_consistent_length,
    validate_data,
)
from skorch.dataset import get_len
from skorch.utils import is_dataset, to_numpy
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ._items import as_dataset
from ._labels import has_columns
from ._net import InfluenceNet
from ._typing import MapDataset


@contextmanager
def explained(demand: str) -> Iterator[None]:
    """Begin errors of checks that use other names with what is demanded here."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{demand}: {error}") from error


def _is_multiple(X: object) -> bool:
    """Whether X is several inputs: a dict, or a list or tuple of arrays."""
    if isinstance(X, Mapping):
        # scipy's dictionary-of-keys matrices are mappings too.
        return not sparse.issparse(X)
    return (
        isinstance(X, (list, tuple))
        and len(X) > 0
        and all(isinstance(x, (np.ndarray, torch.Tensor)) and x.ndim > 1 for x in X)
    )


def _is_opaque(X: object) -> bool:
    """Whether X is not made an array: a torch Dataset or several inputs."""
    return is_dataset(X) or _is_multiple(X)


def check_inputs(net: InfluenceNet, X: object) -> Any:
    """Return X for a fitted net, as an array; what is opaque is returned as it is."""
    X = as_dataset(X)
    if _is_opaque(X):
        return _opaque(net, X)
    X = _on_cpu(X)
    _check_no_dates(X)
    array = _validated(net, X, reset=False)
    _check_shape(net, array)
    return array


def _check_target_names(net: InfluenceNet, y: object, *, reset: bool) -> None:
    """Refuse a table of targets whose columns are others than in fit."""
    names = [str(name) for name in getattr(y, "columns", ())]
    if reset:
        net.__dict__.pop("target_names_in_", None)
        if len(names) > 1:
            net.target_names_in_ = names
        return
    expected = getattr(net, "target_names_in_", None)
    if len(names) > 1 and expected is not None and names != list(expected):
        raise ValueError(
            f"The columns of y must be {list(expected)} in this order, as in fit, got "
            f"{names}."
        )


def check_data(
    net: InfluenceNet, X: Any, y: ArrayLike | None, *, reset: bool
) -> tuple[Any, Any]:
    """Return X and y, validated together; with `reset` their shape is learned."""
    _check_target_names(net, y, reset=reset)
    X, y = as_dataset(X), plain_targets(y)
    if isinstance(X, DataLoader):
        raise TypeError(
            "X must be arrays or a torch Dataset, got a DataLoader. Pass its "
            "`dataset`, and `batch_size` and `shuffle` to the estimator, which makes "
            "the batches and records them."
        )
    if _is_opaque(X):
        X = _opaque(net, X)
        if reset:
            for name in ("n_features_in_", "feature_names_in_", "input_shape_"):
                net.__dict__.pop(name, None)
        if y is None:
            return X, None
        targets: np.ndarray = check_array(
            y, ensure_2d=False, dtype=None, input_name="y"
        )
        if len(targets) != n_rows(X):
            raise ValueError(
                "X and y must have the same length, got "
                f"{n_rows(X)} and {len(targets)}."
            )
        return X, targets
    X = _on_cpu(X)
    _check_no_dates(X)
    X = _validated(net, X, reset=reset)
    if reset:
        net.input_shape_ = X.shape[1:]
    _check_shape(net, X)
    if y is None:
        raise ValueError(
            "`y` must be given with an array: a fit requires y to be passed, but the "
            "target y is None."
        )
    regression = is_regressor(net)
    if not regression and np.ndim(y) > 2:  # a label for each pixel
        options = {"ensure_2d": False, "allow_nd": True, "dtype": None}
        found: np.ndarray = check_array(y, input_name="y", **options)
    else:
        several = regression or has_columns(y)
        found = _check_y(y, multi_output=several, y_numeric=regression, estimator=net)
    check_consistent_length(X, found)
    return X, found


def _validated(net: InfluenceNet, X: object, *, reset: bool) -> np.ndarray:
    """Return X as an array that the module takes; with `reset` its shape is learned."""
    kind = "a 2-D array or CSR matrix" if isinstance(net.module, str) else "an array"
    shape = getattr(X, "shape", None)
    got = f"{X!r:.100}" if shape is None else f"{type(X).__name__} of shape {shape}"
    with explained(f"X must be {kind} of finite numbers, got {got}"):
        array: np.ndarray = validate_data(
            net, X, y="no_validation", reset=reset, **_array_options(net, X)
        )
    return array


def _array_options(net: InfluenceNet, X: object) -> dict[str, Any]:
    built_in = isinstance(net.module, str)
    own = _table_dtype(X)
    # A user's module may take integers, such as an embedding's tokens; the net casts
    # floating-point batches to its module's dtype.
    dtype: Any = own or "numeric"
    if built_in and net.dtype != "auto":
        dtype = net.dtype
    elif built_in:
        dtype = own if own == np.float64 else [np.float32, np.float64]
    return {
        "accept_sparse": "csr",
        "dtype": dtype,
        "allow_nd": not built_in,
        "ensure_2d": built_in,
    }


def _opaque(net: InfluenceNet, X: object) -> Any:
    """Return a Dataset, or several inputs as arrays; refuse what cannot be used."""
    if isinstance(net.module, str):
        raise ValueError(
            "X must be a 2-D array or CSR matrix for the built-in module "
            f"{net.module!r}, got {type(X).__name__}. Give your own nn.Module as "
            "`module` for a torch Dataset or for several inputs."
        )
    if isinstance(X, IterableDataset):
        raise ValueError(
            "X must be a Dataset with rows, got an IterableDataset, whose samples "
            "cannot be told apart by number. Use a map-style Dataset."
        )
    if isinstance(X, Mapping):
        X = {name: _as_array(values, name) for name, values in X.items()}
    if n_rows(X) == 0:
        raise ValueError("X must have at least one sample, got 0.")
    return X


def _as_array(values: Any, name: str) -> Any:
    """Return lists as an array, such as a tokenizer's; everything else as it is."""
    if not isinstance(values, list):
        return values
    with explained(f"X[{name!r}] must have rows of one length (padded)"):
        return np.asarray(values)


def _check_shape(net: InfluenceNet, X: np.ndarray) -> None:
    expected = getattr(net, "input_shape_", X.shape[1:])
    if X.shape[1:] != expected:
        raise ValueError(
            f"X must have samples of shape {tuple(expected)} as in fit, got "
            f"{tuple(X.shape[1:])}."
        )


def n_rows(X: Any) -> int:
    """Return the number of samples."""
    return len(X) if is_dataset(X) else int(get_len(X))


def validation_data(
    net: InfluenceNet,
    X_val: object,
    y_val: ArrayLike | None,
    sample_weight_val: ArrayLike | None,
    *,
    balanced: bool,
) -> tuple[MapDataset, np.ndarray | None]:
    """Return the validation data as a dataset, with its weights, checked.

    Those of the classes are included: the same for each in sum with `balanced`, or else
    as in training.
    """
    X_val = as_dataset(X_val)
    if y_val is None and not isinstance(X_val, Dataset):
        raise ValueError("`y_val` must be given with X_val, got None.")
    with explained("`X_val` and `y_val` must be as X and y in fit"):
        X, y = check_data(net, X_val, y_val, reset=False)
    weights = check_weights(sample_weight_val, n_rows(X), "sample_weight_val", "X_val")
    labels, y = y, net._encode_targets(y, reset=False, name="y_val")
    by_class = net._validation_class_weights(labels, balanced=balanced)
    if by_class is not None:
        weights = _times_class_weights(weights, by_class)
    return net.get_dataset(X, y), weights


def plain_targets(y: object, name: str = "y") -> Any:
    """Return targets as a dense array of NumPy's own dtypes; refuse some.

    scikit-learn makes pandas' nullable and Arrow integers float64, which does not hold
    all of them.

    Parameters
    ----------
    y : array-like or None
        The targets, in any container.
    name : str
        What they are called in an error.

    Returns
    -------
    ndarray, or what was given if it is no array
        The same targets.

    Raises
    ------
    ValueError
        If a target is missing (None, NaN or NA among labels), or is a date.
    """
    y = _on_cpu(y)
    if isinstance(y, (sparse.spmatrix, sparse.sparray)):
        y = y.toarray()
    if hasattr(y, "__array__"):
        y = np.asarray(y)
    elif isinstance(y, Sequence) and any(each is None for each in y):
        y = np.asarray(y, dtype=object)
    if not isinstance(y, np.ndarray):
        return y
    if _holds_dates(y):
        raise ValueError(
            f"`{name}` must be labels or numbers, got dates or times. Turn them into "
            "numbers, such as days since the first."
        )
    # scikit-learn finds NaN among numbers.
    if y.dtype == object and y.ndim and (missing := _missing_rows(y)).size:
        raise ValueError(
            f"`{name}` must have no missing values, got {len(missing)}, the first in "
            f"row {missing[0]}. Leave these samples out."
        )
    return y


def check_classes(classes: object) -> np.ndarray:
    """Return the labels of all classes, each given once."""
    labels = plain_targets(classes, "classes")
    if not isinstance(labels, np.ndarray):
        with explained("`classes` must be a sequence of labels"):
            labels = np.asarray(labels)
    if labels.ndim != 1 or not len(labels):
        raise ValueError(
            "`classes` must be a one-dimensional sequence of at least one label, got "
            f"{classes!r:.200}."
        )
    if pd.isna(labels).any():
        raise ValueError(
            f"`classes` must have no missing labels, got {labels.tolist()!r:.200}."
        )
    kinds = {isinstance(each, str) for each in _items(classes)}
    if len(kinds) > 1:
        raise ValueError(
            "`classes` must be all texts or all numbers, as y is, got "
            f"{classes!r:.200}."
        )
    values, counts = np.unique(labels, return_counts=True)
    repeated = values[counts > 1].tolist()
    if repeated:
        raise ValueError(
            f"`classes` must name each class once, got {repeated[0]!r} "
            f"{counts.max()} times."
        )
    return labels


def _items(classes: Any) -> list[Any]:
    return classes.tolist() if hasattr(classes, "tolist") else list(classes)


def _check_no_dates(X: object) -> None:
    """Refuse inputs that are dates or times."""
    for name, column in _columns(X):
        if _holds_dates(column):
            where = "" if name is None else f" in {name!r}"
            raise ValueError(
                f"X must hold numbers, got dates or times{where}. Turn them into "
                "numbers, such as days since the first."
            )


def _table_dtype(X: object) -> np.dtype[Any] | None:
    """Return the dtype of all of a table; None if it is no table or not numbers.

    scikit-learn knows it for columns of NumPy's dtypes, and makes others float32.
    """
    if isinstance(X, pd.DataFrame):
        dtypes = [getattr(dtype, "numpy_dtype", dtype) for dtype in X.dtypes]
        if not all(isinstance(dtype, np.dtype) for dtype in dtypes):
            return None
        dtype = np.result_type(*dtypes) if dtypes else np.dtype(object)
        if dtype.kind != "f" and X.isna().to_numpy().any():
            return None
    elif hasattr(X, "__array__") and not hasattr(X, "dtype"):
        dtype = np.asarray(X).dtype
    else:
        return None
    return dtype if dtype.kind in "fiub" else None


def check_weights(
    weights: object, n_samples: int, name: str = "sample_weight", samples: str = "X"
) -> np.ndarray | None:
    """Return non-negative weights of that many samples, not all 0; or None for none.

    Only their ratios matter: they are scaled by a power of 2, which changes no digit,
    to be at most 1, so that no sum of them overflows.
    """
    if weights is None:
        return None
    try:
        values = np.asarray(_on_cpu(weights), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"`{name}` must be numbers, got {weights!r}.") from None
    if values.shape != (n_samples,):
        raise ValueError(
            f"`{name}` must have one number for each of the {n_samples} rows of "
            f"{samples}, got shape {values.shape}."
        )
    wrong = values[~((values >= 0) & (values < np.inf))]
    if len(wrong):
        raise ValueError(
            f"`{name}` must not be negative, infinite or NaN, got {wrong[0]:g}."
        )
    if not values.any():
        raise ValueError(f"`{name}` must have a positive sum, got only zeros.")
    return np.ldexp(values, -np.frexp(values.max())[1])


def training_weights(
    X: object, sample_weight: object, by_class: np.ndarray | None
) -> Tensor | None:
    """Return the c_i of the samples, scaled to mean 1; None for 1."""
    weights = check_weights(sample_weight, n_rows(X))
    if by_class is not None:
        weights = _times_class_weights(weights, by_class)
    if weights is None:
        return None
    return torch.from_numpy(weights * (len(weights) / weights.sum()))


def _times_class_weights(
    weights: np.ndarray | None, by_class: np.ndarray
) -> np.ndarray | None:
    scaled = check_weights(by_class, len(by_class), "class_weight", "y")
    if weights is None or scaled is None:
        return scaled
    name = "sample_weight` times `class_weight"
    return check_weights(scaled * weights, len(weights), name)


def _on_cpu(data: object) -> Any:
    """Return a tensor as an array, and all else as it is."""
    return to_numpy(data) if isinstance(data, Tensor) else data


def _missing_rows(y: np.ndarray) -> np.ndarray:
    return np.flatnonzero(pd.isna(y).reshape(len(y), -1).any(axis=1))


def _columns(X: Any) -> Iterator[tuple[object, np.ndarray]]:
    """Yield the names and columns of a table, or an array as a whole."""
    if isinstance(X, pd.DataFrame):
        for place, name in enumerate(X.columns):
            yield name, np.asarray(X.iloc[:, place])
    elif hasattr(X, "__array__") and not hasattr(X, "dtype"):
        # pyarrow calls the names otherwise than polars.
        names = getattr(X, "column_names", None) or getattr(X, "columns", None)
        if names is None:
            yield None, np.asarray(X)
        for name in () if names is None else names:
            yield name, np.asarray(X[name])
    elif isinstance(X, np.ndarray):
        yield None, X


def _holds_dates(values: np.ndarray) -> bool:
    if values.dtype != object:
        return values.dtype.kind in "mM"
    return any(isinstance(each, (date, timedelta)) for each in values.flat)
