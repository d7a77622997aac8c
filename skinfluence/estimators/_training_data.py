"""What a call of ``fit`` trained on, and the fingerprint that tells if it changed."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import joblib
import numpy as np
import torch
from scipy import sparse
from skorch.utils import is_dataset, to_numpy
from torch.utils.data import TensorDataset

from ..exceptions import TrainingDataChangedError
from ..training import all_generators, all_seeded, seed_anew
from ._array_dataset import ArrayDataset
from ._typing import MapDataset

# So many of a Dataset's items are read twice.
_ITEMS_REPEATED = 4

# With this begins the fingerprint of a Dataset of which all items were read; the
# fingerprints in early files are of so many items.
_ALL_ITEMS, _SOME_ITEMS = "all-", 64

# So many are read before it is looked whether they were drawn.
_BLOCK = 256

_Digest: TypeAlias = hashlib.blake2b


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
    """Return a digest of all values of the data.

    A Dataset of another's making is read once, as an epoch would read it.
    """
    if type(X) is TensorDataset:
        return f"{_ALL_ITEMS}{joblib.hash(list(_leaves(X.tensors)))}"
    if type(X) is ArrayDataset:
        X, y = X.X, X.y
    if not is_dataset(X):
        return str(joblib.hash([list(_leaves(X)), list(_leaves(y))]))
    digest = hashlib.blake2b(f"{len(X)}".encode(), digest_size=16)
    with all_seeded(0):
        for start in range(0, len(X), _BLOCK):
            digest = _with_items(digest, X, range(start, min(start + _BLOCK, len(X))))
    return f"{_ALL_ITEMS}{digest.hexdigest()}"


def _with_items(before: _Digest, dataset: MapDataset, rows: range) -> _Digest:
    """Return the digest of the items too; each draws under a seed of its own."""
    digest, generators = before.copy(), all_generators()
    for row in rows:
        _add(digest, dataset[row])
    # Seeding takes longer than reading most items, and few Datasets draw.
    if all_generators() == generators:
        return digest
    for row in rows:
        seed_anew(row)
        _add(before, dataset[row])
    return before


def _add(digest: _Digest, item: Any) -> None:
    for leaf in _leaves(item):
        for part in _bytes_of(leaf):
            digest.update(part)


def _bytes_of(leaf: Any) -> tuple[bytes | memoryview, ...]:
    """Return a part of an item as bytes, after what they are and how many."""
    if isinstance(leaf, np.generic):
        leaf = np.asarray(leaf)
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufcmM":
        flat = leaf.reshape(-1).view(np.uint8)
        return f"{leaf.dtype.str}{leaf.shape}".encode(), flat.data
    if type(leaf) in (bool, int, float, str, bytes, type(None)):
        text = repr(leaf).encode("utf-8", "surrogatepass")
    else:
        text = f"{type(leaf).__name__}:{joblib.hash(leaf)}".encode()
    return f"{len(text)}:".encode(), text


def is_fingerprint(digest: object, data: TrainingData) -> bool:
    """Return whether a digest is of this data; those in early files are of some items.

    The data's own must be known.
    """
    if digest == data.digest or not is_dataset(data.X):
        return digest == data.digest
    early = isinstance(digest, str) and not digest.startswith(_ALL_ITEMS)
    return early and digest == _early_fingerprint(data.X)


def number_after(data: TrainingData, earlier: Sequence[TrainingData]) -> None:
    """Give rows their numbers: as in an earlier call with this data, or new ones.

    Raises
    ------
    ValueError
        If its rows cannot be read again.
    """
    check_repeatable(data.dataset)
    data.digest = fingerprint(data.X, data.y)
    same = [each for each in earlier if is_fingerprint(each.digest, data)]
    ends = (each.offset + len(each) for each in earlier)
    data.offset = same[-1].offset if same else max(ends, default=0)


def _early_fingerprint(dataset: MapDataset) -> str:
    rows = _some_rows(dataset, _SOME_ITEMS)
    return str(joblib.hash([len(dataset), *(_item(dataset, row) for row in rows)]))


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
        now = replace(data, digest=fingerprint(data.X, data.y))
        if not is_fingerprint(data.digest, now):
            raise TrainingDataChangedError(
                "The training data must be as it was in fit, but its fingerprint "
                "differs: X or y was changed in place, or a Dataset is not the same "
                "when it is read again. Fit again, or give fit a copy."
            )
