"""Sequences of items, such as a list of dicts, as torch Datasets."""

from collections.abc import Mapping
from typing import Any

from torch.utils.data import Dataset


class ItemsDataset(Dataset[Any]):
    """A sequence of items that is no torch Dataset, as one.

    Parameters
    ----------
    items : sequence
        Such as a list of dicts, or a Dataset of Hugging Face.
    """

    def __init__(self, items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> Any:
        return self.items[row]


def as_dataset(X: Any) -> Any:
    """Return a sequence of items as a torch Dataset, and anything else as it is."""
    # A Dataset of Hugging Face has torch's method for whole batches.
    of_dicts = isinstance(X, list) and len(X) > 0 and isinstance(X[0], Mapping)
    if of_dicts or (hasattr(X, "__getitems__") and not isinstance(X, Dataset)):
        return ItemsDataset(X)
    return X
