"""Seeds for the items of a Dataset, and for their collation."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, Subset

from ..training import all_seeded, derive_seed, seed_others
from ._typing import MapDataset


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
        seed_others(seed)
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
