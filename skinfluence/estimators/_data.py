"""Training data as rows: whole batches at once, fingerprints, row numbers."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import joblib
import numpy as np
import torch
from scipy import sparse
from skorch.dataset import Dataset
from skorch.utils import is_dataset, to_numpy
from torch.utils.data import Subset

from ..exceptions import TrainingDataChangedError

# A dataset's items cost what the user makes them cost: this many are looked at.
_ITEMS_LOOKED_AT = 64


class ArrayDataset(Dataset):
    """Arrays as a dataset that hands out whole batches at once.

    Parameters
    ----------
    X : array, tensor, CSR matrix, or a dict or list of these
        The inputs.
    y : array, tensor or None
        The targets.
    length : int or None
        Number of samples, where it is not that of X.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfluence.estimators import ArrayDataset
    >>> dataset = ArrayDataset(np.eye(3), np.arange(3))
    >>> inputs, targets = dataset.batch([2, 0])
    >>> targets
    tensor([2, 0])
    """

    _SHARED = ("_inputs", "_targets")

    def __init__(self, X: Any, y: Any = None, length: int | None = None) -> None:
        super().__init__(X, y, length)
        self._inputs = _as_tensors(X)
        self._targets = _as_tensors(y)

    def __getstate__(self) -> dict[str, Any]:
        # The tensors share the arrays' memory: pickled too, they would double it.
        return {k: v for k, v in self.__dict__.items() if k not in self._SHARED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._inputs, self._targets = _as_tensors(self.X), _as_tensors(self.y)

    def __getitems__(self, rows: Sequence[int]) -> "Samples":
        """Return samples that can be had one by one or as a batch."""
        return Samples(self, rows)

    def batch(self, rows: Sequence[int] | torch.Tensor) -> tuple[Any, Any]:
        """Return a batch, collated.

        Parameters
        ----------
        rows : sequence or Tensor of int
            Rows of the data.

        Returns
        -------
        inputs : Tensor, or dict or list of Tensor
            Those of the rows.
        targets : Tensor
            Those of the rows; zeros where there are none.
        """
        index = torch.as_tensor(rows)
        if self._targets is None:
            # skorch's placeholder for a target that is not there.
            return _take(self._inputs, index), torch.zeros(len(index), 1)
        return _take(self._inputs, index), _take(self._targets, index)


class Samples(Sequence[Any]):
    """Samples of an :class:`ArrayDataset`, in the form that collate functions take."""

    def __init__(self, dataset: ArrayDataset, rows: Sequence[int]) -> None:
        self.dataset = dataset
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[self.rows[index]]


def collate_whole(samples: Samples) -> tuple[Any, Any]:
    """Return the samples as one batch, without taking them apart first."""
    return samples.dataset.batch(samples.rows)


class WholeBatches:
    """What a DataLoader with default options does, for whole batches of rows.

    Parameters
    ----------
    dataset : ArrayDataset
        The data.
    batch_sampler : RecordingBatchSampler
        Draws the rows of each batch.
    """

    def __init__(self, dataset: ArrayDataset, batch_sampler: Any) -> None:
        self.dataset = dataset
        self.batch_sampler = batch_sampler

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return map(self.dataset.batch, self.batch_sampler.tensors())


def _as_tensors(data: Any) -> Any:
    """Return tensors on the arrays' own memory; sparse matrices as they are."""
    if isinstance(data, Mapping):
        return {name: _as_tensors(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_as_tensors(value) for value in data]
    if not isinstance(data, np.ndarray):
        return data
    with warnings.catch_warnings():
        # Read-only memory is welcome: nothing here writes to the data.
        warnings.filterwarnings("ignore", message=".*not writable")
        negative = any(stride < 0 for stride in data.strides)
        return torch.from_numpy(np.ascontiguousarray(data) if negative else data)


def _take(data: Any, index: torch.Tensor) -> Any:
    if isinstance(data, torch.Tensor):
        return data.index_select(0, index)
    if isinstance(data, dict):
        return {name: _take(value, index) for name, value in data.items()}
    if isinstance(data, list):
        return [_take(value, index) for value in data]
    if sparse.issparse(data):
        return torch.from_numpy(data[index.numpy()].toarray())
    return torch.as_tensor(np.asarray(data)[index.numpy()])


def is_multiple(X: Any) -> bool:
    """Whether X is several inputs: a dict, or a list or tuple of arrays."""
    if isinstance(X, Mapping):
        # scipy's dictionary-of-keys matrices are mappings too.
        return not sparse.issparse(X)
    return (
        isinstance(X, (list, tuple))
        and len(X) > 0
        and all(isinstance(x, (np.ndarray, torch.Tensor)) and x.ndim > 1 for x in X)
    )


def is_opaque(X: Any) -> bool:
    """Whether X is passed through as it is: a torch Dataset or several inputs."""
    return is_dataset(X) or is_multiple(X)


def fingerprint(X: Any, y: Any) -> str:
    """Return a digest of the data: all of an array's values, some of a Dataset's."""
    if is_dataset(X):
        count = len(X)
        some = np.unique(np.linspace(0, count - 1, _ITEMS_LOOKED_AT).astype(int))
        return str(joblib.hash([count, *(list(_leaves(X[int(row)])) for row in some)]))
    return str(joblib.hash([list(_leaves(X)), list(_leaves(y))]))


def _leaves(data: Any) -> Iterator[Any]:
    """Yield what the data is made of, in a form that hashes the same every time."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            yield name
            yield from _leaves(value)
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from _leaves(value)
    elif sparse.issparse(data):
        # A matrix object also holds what it has found out about itself.
        yield from (data.shape, data.data, data.indices, data.indptr)
    elif isinstance(data, torch.Tensor):
        yield to_numpy(data)
    elif isinstance(data, np.ndarray):
        # How an array lies in memory tells it apart too: a view from its copy.
        yield np.ascontiguousarray(data)
    else:
        yield data


def rows_of(dataset: Any, whole: Any) -> torch.Tensor | None:
    """Return the rows of `whole` that a (nested) subset holds; None for all.

    Raises
    ------
    ValueError
        If `dataset` is not made of `whole`.
    """
    if dataset is whole:
        return None
    if not isinstance(dataset, Subset):
        raise ValueError(
            "`train_split` must return the training data itself or a "
            "torch.utils.data.Subset of it, so that the steps' samples can be told "
            f"as rows of X; got {type(dataset).__name__}."
        )
    outer = rows_of(dataset.dataset, whole)
    inner = torch.as_tensor(np.asarray(dataset.indices), dtype=torch.int64)
    return inner if outer is None else outer[inner]


@dataclass(eq=False)
class TrainingData:
    """What one call of ``fit`` or ``partial_fit`` trained on.

    Attributes
    ----------
    X, y : object
        The data after validation.
    dataset : torch.utils.data.Dataset
        The same, as the net's dataset.
    weights : Tensor of shape (n,) or None
        The samples' c_i, with mean 1; None for 1.
    fit_params : dict
        What else was given to ``fit``.
    offset : int
        Its first row among the run's samples.
    digest : str
        Its fingerprint; empty where nothing is recorded.
    """

    X: Any
    y: Any
    dataset: Any
    weights: torch.Tensor | None = None
    fit_params: dict[str, Any] = field(default_factory=dict)
    offset: int = 0
    digest: str = ""

    def __len__(self) -> int:
        return len(self.dataset)


def check_unchanged(training_data: Sequence[TrainingData]) -> None:
    """Refuse training data that is not what it was in fit."""
    for data in training_data:
        if fingerprint(data.X, data.y) != data.digest:
            raise TrainingDataChangedError(
                "The training data must be as it was in fit, but its fingerprint "
                "differs: X or y was changed in place. Fit again, or give fit a "
                "copy."
            )
