"""Arrays as a dataset that returns whole batches at once."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from skorch.dataset import Dataset


class ArrayDataset(Dataset):
    """Arrays as a dataset that returns whole batches at once.

    Parameters
    ----------
    X : array, tensor, CSR matrix, or a dict or list of these
        The inputs.
    y : array, tensor or None
        The targets.
    length : int or None
        Number of samples, where it is not the length of X.

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

    def __init__(self, X: object, y: object = None, length: int | None = None) -> None:
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
        """Return samples, to be taken one by one or as a batch."""
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
            # skorch's placeholder for a missing target.
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
    """Return the samples as one batch, without going through them one by one."""
    return samples.dataset.batch(samples.rows)


def _as_tensors(data: object) -> Any:
    """Return tensors that share the arrays' memory; sparse matrices unchanged."""
    if isinstance(data, Mapping):
        return {name: _as_tensors(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_as_tensors(value) for value in data]
    if not isinstance(data, np.ndarray):
        return data
    with warnings.catch_warnings():
        # Read-only memory will do: nothing here writes to the data.
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
