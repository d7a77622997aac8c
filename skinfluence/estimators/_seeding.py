"""Seeds for the items of a Dataset that draws."""

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ..training import all_seeded
from ._typing import MapDataset


class SeededItems(Dataset[Any]):
    """A Dataset whose items are read by (index, seed): the same pair, the same item.

    The seeds travel with the indices, to worker processes too.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Draws from the global generators of torch, NumPy or Python.
    """

    def __init__(self, dataset: MapDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> Any:
        index, seed = key
        with all_seeded(seed):
            return self.dataset[index]


def seeded_keys(
    indices: Iterable[int], rows: torch.Tensor, seed: int
) -> list[tuple[int, int]]:
    """Return the keys of a Dataset's indices, which stand for rows of the data."""
    return [(i, seed + r) for i, r in zip(indices, rows.tolist(), strict=True)]


def draws(dataset: MapDataset, rows: Iterable[int]) -> bool:
    """Return whether reading some rows draws from the global generators."""
    with all_seeded(0):
        before = _states()
        for row in rows:
            dataset[row]
            if _states() != before:
                return True
    return False


def _states() -> tuple[Any, ...]:
    _, keys, place, *rest = np.random.get_state()  # noqa: NPY002
    own = torch.default_generator.get_state().numpy().tobytes()
    return own, np.asarray(keys).tobytes(), place, rest, random.getstate()
