"""One training step as it was taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ._clipping import Clipping

Hyperparameters = Mapping[str, Any]
"""One ``torch.optim`` parameter group without its parameters."""

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32}


def parameters_digest(parameters: torch.Tensor) -> int:
    """Return a sum of the parameters' bits, by which unequal ones are told apart."""
    bits = _BITS.get(parameters.element_size(), torch.int64)
    return int(parameters.detach().view(bits).sum())


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Samples that are loaded and go through the modules together.

    A step that accumulates gradients has several micro-batches, every other has one.

    Attributes
    ----------
    data : int
        Number of the data set.
    rows : Tensor of shape (batch,), int64
        The samples.
    seed : int or None
        Seed of what is drawn for them; None if nothing is.
    share : float
        The factor of their mean loss in the step's loss.
    item_seed : int or None
        Seed of what a Dataset draws while its items are read; None if it draws nothing,
        or outside training.
    """

    data: int
    rows: torch.Tensor
    seed: int | None = None
    share: float = 1.0
    item_seed: int | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One training step as it was taken.

    Parameters
    ----------
    step : int
        Number of the step in the run, from 0.
    epoch : int
        Number of its epoch, from 1.
    data : int
        Which of the data sets given to ``fit`` and ``partial_fit`` it drew on.
    rows : Tensor of shape (batch,), int64
        The samples of the batch, as rows of the run's samples; a sample drawn twice
        stands twice.
    seed : int or None
        Seed of the random numbers that the step drew; None if it drew none. Its k-th
        micro-batch, from 0, has the seed that is larger by k.
    hyperparameters : tuple of mapping
        What the optimizer really used, a mapping for each parameter group.
    active : tuple of int
        Which of the recorded parameters had a gradient, by position.
    clipping : Clipping or None
        The gradient clipping in force.
    digest : int or None
        Digest of the parameters that the step led to; None if it was not taken.
    loss : float or None
        The batch loss as training saw it; None if the step was only repeated.
    compiled_size : int or None
        Number of samples that compiled code took the batch for, filled up with samples
        of weight 0; None if the step was not compiled.
    n_threads : int or None
        Number of torch's threads, on which the order of additions depends; None if it
        was not noted.
    sizes : tuple of int
        Sizes of the micro-batches over which the step accumulated gradients, in the
        order of `rows`; empty for a step on one batch.
    losses : tuple of float
        Their mean losses, whose mean is `loss`.
    item_seed : int or None
        Seed of what a Dataset drew in this epoch while its items were read: an item's
        own seed is larger by its row. None if it drew nothing.
    scale : float
        The factor of the mean of its batches' mean losses in the loss that was
        differentiated: 1 but in a loop that scales it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SGDInfluenceClassifier(max_epochs=2, batch_size=50, random_state=0)
    >>> record = clf.fit(scale(X), y).trajectory_.records[-1]
    >>> record.step, record.epoch, len(record.rows)
    (5, 2, 50)
    """

    step: int
    epoch: int
    data: int
    rows: torch.Tensor
    seed: int | None
    hyperparameters: tuple[Hyperparameters, ...]
    active: tuple[int, ...]
    clipping: Clipping | None = None
    digest: int | None = None
    loss: float | None = None
    compiled_size: int | None = None
    n_threads: int | None = None
    sizes: tuple[int, ...] = ()
    losses: tuple[float, ...] = ()
    item_seed: int | None = None
    scale: float = 1.0

    def micro_batches(self) -> list[MicroBatch]:
        """Return the batches whose mean losses' mean the step's loss is.

        Returns
        -------
        list of MicroBatch
            In the order in which they were taken.
        """
        if not self.sizes:
            return [
                MicroBatch(self.data, self.rows, self.seed, self.scale, self.item_seed)
            ]
        share, seed = self.scale / len(self.sizes), self.seed
        seeds = [None if seed is None else seed + k for k in range(len(self.sizes))]
        return [
            MicroBatch(self.data, rows, own, share, self.item_seed)
            for rows, own in zip(self.rows.split(self.sizes), seeds, strict=True)
        ]
