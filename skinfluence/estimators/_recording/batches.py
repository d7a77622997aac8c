"""The batches of an epoch, drawn from the run's own seed and noted."""

from collections.abc import Iterator, Sequence, Sized
from itertools import chain
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler, Subset

from ...training import all_seeded
from .._array_dataset import ArrayDataset
from .._seeding import seeded_keys
from .training_run import TrainingRun


class Batches(Protocol):
    """A batch sampler: row numbers of one batch after another."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sequence[int]]: ...


class RowBatches(BatchSampler):
    """Batches of all rows, as torch's samplers draw them, to be had as one tensor.

    The samplers go through the rows one by one, which takes a tenth as long as a small
    network does.

    Parameters
    ----------
    dataset : sized
        The data.
    shuffle : bool
        Whether to shuffle the rows, anew in every epoch.
    batch_size : int
        Number of rows in a batch.
    drop_last : bool
        Whether to leave out a last batch of fewer rows.
    """

    def __init__(
        self, dataset: Sized, shuffle: bool, batch_size: int, drop_last: bool
    ) -> None:
        sampler = (RandomSampler if shuffle else SequentialSampler)(dataset)
        super().__init__(sampler, batch_size, drop_last)
        self.dataset, self.shuffle = dataset, shuffle

    def epoch(self, seed: int) -> tuple[Tensor, list[int]]:
        """Return the rows of an epoch's batches, and the batches' sizes."""
        n = len(self.dataset)
        rows = torch.arange(n)
        if self.shuffle:
            # As a sampler does, which seeds a generator from the global one.
            drawn = torch.empty((), dtype=torch.int64).random_(generator=_seeded(seed))
            rows = torch.randperm(n, generator=_seeded(int(drawn)))
        whole, left = divmod(n, self.batch_size)
        sizes = [self.batch_size] * whole + [left] * (left > 0 and not self.drop_last)
        return rows[: sum(sizes)], sizes


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class RecordingBatchSampler:
    """Yields a sampler's batches, drawn from the run's own seed, and notes them.

    For :class:`SeededItems` they hold the items' seeds beside their indices.

    Parameters
    ----------
    batches : iterable of sequence of int
        The batch sampler.
    rows : Tensor of int64 or None
        The rows of the data that the sampler's indices stand for; None for the same.
    run : TrainingRun
        Told of every epoch and batch.
    """

    def __init__(self, batches: Batches, rows: Tensor | None, run: TrainingRun) -> None:
        self.batches = batches
        self.rows = rows
        self.run = run

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Any]]:
        for indices, rows in self._noted():
            batch, seed = indices.tolist(), self.run.item_seed
            yield batch if seed is None else seeded_keys(batch, rows, seed)

    def tensors(self) -> Iterator[Tensor]:
        """Iterate over the batches as tensors, of rows of the data."""
        for _, rows in self._noted():
            yield rows

    def _noted(self) -> Iterator[tuple[Tensor, Tensor]]:
        indices, sizes = self._epoch(self.run.begin_epoch())
        self.run.expect(sizes)
        rows = indices if self.rows is None else self.rows[indices]
        for batch, part in zip(indices.split(sizes), rows.split(sizes), strict=True):
            # A view would keep the rows of the whole epoch in memory.
            recorded = part.clone()
            self.run.batches.append(recorded)
            yield batch, recorded

    def _epoch(self, seed: int) -> tuple[Tensor, list[int]]:
        """Return the indices of an epoch's batches, and the batches' sizes."""
        if isinstance(self.batches, RowBatches):
            return self.batches.epoch(seed)
        with all_seeded(seed):
            # Samplers use the global generator while iterated: draw all at once.
            drawn = [*map(list, self.batches)]
        # One tensor for the epoch: making one costs as much for a batch as for all.
        indices = torch.tensor([*chain.from_iterable(drawn)], dtype=torch.int64)
        return indices, [*map(len, drawn)]


class WholeBatches:
    """What a DataLoader with default options does, for whole batches of rows.

    Parameters
    ----------
    dataset : ArrayDataset
        The data.
    batch_sampler : RecordingBatchSampler
        Draws the rows of each batch.
    """

    def __init__(
        self, dataset: ArrayDataset, batch_sampler: RecordingBatchSampler
    ) -> None:
        self.dataset = dataset
        self.batch_sampler = batch_sampler

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return map(self.dataset.batch, self.batch_sampler.tensors())


def rows_of(dataset: object, whole: object) -> Tensor | None:
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
