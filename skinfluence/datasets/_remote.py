"""The datasets through scikit-learn's fetchers and their cache."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any, NamedTuple
from urllib.error import URLError

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn import datasets

from ._local import VARIABLE
from ._subsets import rows_of

Home = str | PathLike[str] | None


class _Table(NamedTuple):
    """An OpenML table and the position of the original test set in it."""

    name: str
    version: int
    test_counts: tuple[int, ...]  # test samples of each class
    test_first: bool = False


_MNIST = _Table("mnist_784", 1, (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009))
_CIFAR10 = _Table("CIFAR_10", 1, (1000,) * 10)
_ADULT = _Table("adult", 2, (12435, 3846), test_first=True)


def mnist(home: Home, splits: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the images, one in each row, and the digits of the splits."""
    return _images(_MNIST, home, splits)


def cifar10(home: Home, splits: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the images, channels first, and the classes of the splits."""
    data, target = _images(_CIFAR10, home, splits)
    return data.reshape(-1, 3, 32, 32), target


def adult(home: Home) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Return the table with the column ``class``, and which rows are test rows."""
    frame = _fetch(_ADULT, home, as_frame=True).frame
    return frame, _is_test(_ADULT, frame["class"])


def newsgroups(home: Home, subset: str, remove: tuple[str, ...]) -> Any:
    """Return the posts in scikit-learn's order, not shuffled."""
    with _advice_offline():
        return datasets.fetch_20newsgroups(
            data_home=home, subset=subset, remove=remove, shuffle=False
        )


def _images(
    table: _Table, home: Home, splits: Sequence[str]
) -> tuple[NDArray[Any], NDArray[Any]]:
    bunch = _fetch(table, home, as_frame=False)
    rows = rows_of(_is_test(table, bunch.target), splits)
    # Convert before selecting rows: the parsed table takes eight times the memory.
    pixels = bunch.data.astype(np.uint8, order="C")
    return pixels[rows], bunch.target[rows].astype(np.int64)


def _is_test(table: _Table, target: ArrayLike) -> NDArray[np.bool_]:
    """Mark the rows of the original test set, which OpenML does not mark."""
    target = np.asarray(target)
    n_test = sum(table.test_counts)
    is_test = np.zeros(len(target), dtype=bool)
    is_test[slice(n_test) if table.test_first else slice(-n_test, None)] = True
    # The class counts show whether the table is still in the expected order.
    counts = np.unique(target[is_test], return_counts=True)[1]
    if tuple(counts.tolist()) != table.test_counts:
        raise RuntimeError(
            f"OpenML's table {table.name!r} no longer has the original test set in the "
            "expected place. Use sklearn.datasets.fetch_openml and split it yourself."
        )
    return is_test


def _fetch(table: _Table, home: Home, *, as_frame: bool) -> Any:
    with _advice_offline():
        return datasets.fetch_openml(
            table.name,
            version=table.version,
            data_home=home,
            as_frame=as_frame,
        )


@contextmanager
def _advice_offline() -> Iterator[None]:
    """Add advice to the errors of a failed download."""
    try:
        yield
    except (URLError, TimeoutError, ConnectionError) as error:
        raise URLError(
            f"The dataset could not be downloaded ({error}). On a machine without a "
            f"network, set the environment variable {VARIABLE} to a folder with its "
            "files, which the fetcher's notes list, or `data_home` to a scikit-learn "
            "cache that contains it."
        ) from error
