"""Arguments of all fetchers: a subset of the data, and where it is kept."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .._values import check_path

_SPLITS = {"train": ("train",), "test": ("test",), "all": ("train", "test")}


def splits_of(subset: object) -> tuple[str, ...]:
    """Return the splits of a subset."""
    if not isinstance(subset, str) or subset not in _SPLITS:
        raise ValueError(f"`subset` must be 'train', 'test' or 'all', got {subset!r}.")
    return _SPLITS[subset]


def check_home(data_home: object) -> None:
    """Refuse what is no folder, also where none is needed."""
    if data_home is not None:
        check_path("data_home", data_home)


def rows_of(is_test: NDArray[np.bool_], splits: Sequence[str]) -> NDArray[np.intp]:
    """Return the rows of the splits, one split after the other."""
    return np.concatenate([np.flatnonzero(is_test == (s == "test")) for s in splits])
