"""A digest of samples and targets, the same for every container that holds them."""

import hashlib
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils.validation import _num_samples

from ._data import Samples

# Values that are converted at once.
_BLOCK = 2**20


def data_fingerprint(X: Samples, y: ArrayLike) -> str:
    """Return a digest of samples and their targets, which ties decisions to their data.

    It depends on the values, not on their container: an array, a tensor and a DataFrame
    of the same numbers have the same digest, in single or double precision if the
    numbers are exact in both. Names of columns and rows do not matter.

    Parameters
    ----------
    X : array-like, tensor, sparse matrix, DataFrame or sequence of str
        The samples.
    y : array-like of n_samples rows
        Their labels or targets.

    Returns
    -------
    str
        Letters, digits and a hyphen, which no spreadsheet takes for a number.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfluence.cleaning import data_fingerprint
    >>> X, y = np.eye(3), ["a", "b", "a"]
    >>> data_fingerprint(X, y) == data_fingerprint(X.astype(np.float32).tolist(), y)
    True
    >>> data_fingerprint(X, y) == data_fingerprint(X[::-1], y)
    False
    """
    for name, data in (("X", X), ("y", y)):
        _check_container(name, data)
    if _num_samples(X) != _num_samples(y) or _num_samples(y) == 0:
        raise ValueError(
            "`X` and `y` must have as many rows, and at least one, got "
            f"{_num_samples(X)} and {_num_samples(y)}."
        )
    digest = hashlib.sha256()
    for part in (X, y):
        for piece in _pieces(part):
            digest.update(piece)
    return f"data-{digest.hexdigest()[:20]}"


def _check_container(name: str, data: object) -> None:
    """Refuse what holds no rows: a missing one would have a digest too."""
    if isinstance(data, (str, bytes, Mapping, Set)) or not (
        hasattr(data, "__len__") or hasattr(data, "shape")
    ):
        raise TypeError(
            f"`{name}` must be an array, a sequence or a table of rows, got {data!r}."
        )
    if getattr(data, "shape", None) == ():
        raise TypeError(f"`{name}` must have rows, got a single value, {data!r}.")


def _pieces(data: Any) -> Iterable[bytes]:
    """Yield the content of the data as bytes."""
    if sparse.issparse(data):
        # A copy: summing duplicates works in place.
        data = data.tocsr(copy=True)
        data.sum_duplicates()
        yield repr(data.shape).encode()
        for numbers in (data.indptr, data.indices, data.data):
            yield from _numbers(np.asarray(numbers))
        return
    if hasattr(data, "detach"):
        data = data.detach().cpu()
    if not hasattr(data, "iloc"):
        data = np.asarray(data)
    if data.ndim > 2 or not _is_mixed(data):
        array = data.to_numpy(na_value=np.nan) if hasattr(data, "iloc") else data
        yield repr(array.shape).encode()
        yield from _numbers(array)
        return
    yield repr(data.shape).encode()
    # A column of numbers counts as such, even if its dtype is object.
    frame = pd.DataFrame(data).infer_objects()
    for k in range(frame.shape[1]):
        column = frame.iloc[:, k]
        if _is_numeric(column.dtype):
            yield from _numbers(column.to_numpy(dtype=np.float64, na_value=np.nan))
        else:
            yield from _texts(column)


def _is_mixed(data: Any) -> bool:
    dtypes = data.dtypes if hasattr(data, "iloc") else data.dtype
    dtypes = dtypes if isinstance(dtypes, pd.Series) else [dtypes]
    return not all(_is_numeric(dtype) for dtype in dtypes)


def _is_numeric(dtype: Any) -> bool:
    return bool(
        pd.api.types.is_numeric_dtype(dtype)
        and not pd.api.types.is_complex_dtype(dtype)
    )


def _numbers(array: np.ndarray) -> Iterable[bytes]:
    """Yield numbers in double precision, with one form of zero and of NaN."""
    step = max(1, _BLOCK // max(1, int(np.prod(array.shape[1:]))))
    for start in range(0, len(array), step):
        # Adding 0.0 turns -0.0 into 0.0.
        block = array[start : start + step].astype(np.float64) + 0.0
        block[np.isnan(block)] = np.nan
        yield block.tobytes()


def _texts(column: pd.Series) -> Iterable[bytes]:
    """Yield values as text, each after its length, or after -1 if it is missing."""
    for value, missing in zip(column, column.isna(), strict=True):
        # The length keeps ("ab", "c") apart from ("a", "bc").
        text = b"" if missing else str(value).encode("utf-8", "surrogatepass")
        yield f"{-1 if missing else len(text)}:".encode() + text
