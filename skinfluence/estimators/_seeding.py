"""Seeds for all global generators, for the items of a Dataset and their collation."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Subset

from ..training import derive_seed, seeded
from ._typing import MapDataset

_CPU = torch.device("cpu")


@contextmanager
def all_seeded(seed: int, device: torch.device = _CPU) -> Iterator[None]:
    """Seed NumPy's and Python's global generators too.

    Splits, samplers and Datasets may draw on them.
    """
    with seeded(seed, device):
        states = np.random.get_state(), random.getstate()  # noqa: NPY002
        try:
            _seed_others(seed)
            yield
        finally:
            np.random.set_state(states[0])  # noqa: NPY002
            random.setstate(states[1])


def _seed_others(seed: int) -> None:
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)


def other_generators() -> tuple[Any, ...]:
    """Return the states of NumPy's and Python's global generators, to be compared."""
    _, keys, *rest = np.random.get_state()  # noqa: NPY002
    return np.asarray(keys).tobytes(), rest, random.getstate()


class SeededSamples(list[Any]):
    """Samples of a batch, with the seed of their collation."""

    seed: int


class SeededItems(Dataset[Any]):
    """A Dataset whose items are read by (index, seed): the same pair, the same item.

    The seeds travel with the indices, to worker processes too.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        May draw from the global generators of torch, NumPy or Python. One that reads
        whole batches (``__getitems__``) draws by the seed of the first item.
    """

    def __init__(self, dataset: MapDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> Any:
        index, seed = key
        with all_seeded(seed):
            return self.dataset[index]

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> SeededSamples:
        """Return samples, to be collated by `SeededCollation` or any other."""
        _, first = keys[0]
        # To save the generators and restore them takes ten times as long as to seed.
        with all_seeded(first):
            samples = SeededSamples(self._samples(keys))
        samples.seed = derive_seed(first, "collation")
        return samples

    def _samples(self, keys: Sequence[tuple[int, int]]) -> Iterable[Any]:
        # A subset has the method whether or not its base has it.
        read = getattr(self.dataset, "__getitems__", None)
        if read is not None and hasattr(base_of(self.dataset), "__getitems__"):
            samples: Iterable[Any] = read([index for index, _ in keys])
            return samples
        return (self._seeded_item(*key) for key in keys)

    def _seeded_item(self, index: int, seed: int) -> Any:
        torch.default_generator.manual_seed(seed)
        _seed_others(seed)
        return self.dataset[index]


class SeededCollation:
    """A `collate_fn` that may draw from the global generators.

    Parameters
    ----------
    collate : callable
        The function.
    """

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: Any) -> Any:
        # A loader that is not torch's may read items one by one.
        if not isinstance(samples, SeededSamples):
            return self.collate(samples)
        with all_seeded(samples.seed):
            return self.collate(samples)


def base_of(dataset: Any) -> Any:
    """Return what a (nested) subset is one of."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return dataset


def seeded_keys(
    indices: Iterable[int], rows: torch.Tensor, seed: int
) -> list[tuple[int, int]]:
    """Return the keys of a Dataset's indices, which stand for rows of the data."""
    return [(i, seed + r) for i, r in zip(indices, rows.tolist(), strict=True)]
