"""What a call of ``fit`` trained on, and the fingerprint that tells if it changed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import joblib
import numpy as np
import torch
from scipy import sparse
from skorch.utils import is_dataset, to_numpy
from torch.utils.data import TensorDataset

from ..exceptions import TrainingDataChangedError
from ..training import all_seeded
from ._array_dataset import ArrayDataset
from ._typing import MapDataset

# A Dataset's items may be slow to load: only this many are hashed.
_ITEMS_HASHED = 64

# So many are read twice.
_ITEMS_REPEATED = 4


@dataclass(eq=False)
class TrainingData:
    """What one call of ``fit`` or ``partial_fit`` trained on.

    Attributes
    ----------
    X, y : object
        The data after validation.
    dataset : torch.utils.data.Dataset
        The same data as a dataset.
    weights : Tensor of shape (n,) or None
        The samples' c_i, with mean 1; None for 1.
    fit_params : dict
        Further arguments of ``fit``.
    offset : int
        Its first row among the run's samples.
    digest : str
        Its fingerprint; empty where nothing is recorded.
    draws : bool
        Whether random numbers may be drawn while a batch is loaded: they are seeded.
    """

    X: Any
    y: Any
    dataset: MapDataset
    weights: torch.Tensor | None = None
    fit_params: dict[str, Any] = field(default_factory=dict)
    offset: int = 0
    digest: str = ""
    draws: bool = False

    def __len__(self) -> int:
        return len(self.dataset)


def fingerprint(X: Any, y: object) -> str:
    """Return a digest of the data: all of an array's values, some of a Dataset's."""
    if is_dataset(X):
        count = len(X)
        items = (_item(X, row) for row in _some_rows(X, _ITEMS_HASHED))
        return str(joblib.hash([count, *items]))
    return str(joblib.hash([list(_leaves(X)), list(_leaves(y))]))


def may_draw(dataset: MapDataset) -> bool:
    """Return whether a dataset's code may draw while its items are read.

    A few items would not show it: some Datasets draw for rare ones only.
    """
    return not isinstance(dataset, ArrayDataset) and type(dataset) is not TensorDataset


def check_repeatable(dataset: MapDataset) -> None:
    """Refuse a dataset whose items cannot be read again."""
    if isinstance(dataset, ArrayDataset):
        return
    for row in _some_rows(dataset, _ITEMS_REPEATED):
        once, again = (joblib.hash(_item(dataset, row)) for _ in range(2))
        if once != again:
            raise ValueError(
                "X must be a Dataset whose items are the same when they are read again "
                "under the same seeds of torch's, NumPy's and Python's global "
                f"generators, but item {row} was another one, as if it were drawn from "
                "a generator of the Dataset's own. Draw from a global generator, which "
                "is seeded for every item and epoch, or train without influence "
                "(record=None)."
            )


def _some_rows(dataset: MapDataset, most: int) -> list[int]:
    rows = np.unique(np.linspace(0, len(dataset) - 1, most).astype(int))
    return [int(row) for row in rows]


def _item(dataset: MapDataset, row: int) -> list[Any]:
    with all_seeded(row):
        return list(_leaves(dataset[row]))


def _leaves(data: Any) -> Iterator[Any]:
    """Yield the parts of the data, in a form that hashes the same every time."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            yield name
            yield from _leaves(value)
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from _leaves(value)
    elif sparse.issparse(data):
        # A matrix object also caches flags about itself.
        yield from (data.shape, data.data, data.indices, data.indptr)
    elif isinstance(data, torch.Tensor):
        yield to_numpy(data)
    elif isinstance(data, np.ndarray):
        # The hash depends on the memory layout too.
        yield np.ascontiguousarray(data)
    else:
        yield data


def check_unchanged(training_data: Sequence[TrainingData]) -> None:
    """Refuse training data that is not what it was in fit."""
    for data in training_data:
        if fingerprint(data.X, data.y) != data.digest:
            raise TrainingDataChangedError(
                "The training data must be as it was in fit, but its fingerprint "
                "differs: X or y was changed in place, or a Dataset is not the same "
                "when it is read again. Fit again, or give fit a copy."
            )
