"""The batches of an epoch, drawn from the run's own seed and noted."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from ...training import all_seeded
from .._array_dataset import ArrayDataset
from .._seeding import seeded_keys
from .training_run import TrainingRun


class Batches(Protocol):
    """A batch sampler: row numbers of one batch after another."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sequence[int]]: ...


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
        for batch, rows in self._noted():
            seed = self.run.item_seed
            yield batch if seed is None else seeded_keys(batch, rows, seed)

    def tensors(self) -> Iterator[Tensor]:
        """Iterate over the batches as tensors, of rows of the data."""
        for _, rows in self._noted():
            yield rows

    def _noted(self) -> Iterator[tuple[list[int], Tensor]]:
        with all_seeded(self.run.begin_epoch()):
            # Samplers use the global generator while iterated: draw all at once.
            drawn = [*map(list, self.batches)]
        sizes = [*map(len, drawn)]
        self.run.expect(sizes)
        # One tensor for the epoch: making one costs as much for a batch as for all.
        indices = torch.tensor([*chain.from_iterable(drawn)], dtype=torch.int64)
        rows = indices if self.rows is None else self.rows[indices]
        for batch, part in zip(drawn, rows.split(sizes), strict=True):
            # A view would keep the rows of the whole epoch in memory.
            recorded = part.clone()
            self.run.batches.append(recorded)
            yield batch, recorded


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
