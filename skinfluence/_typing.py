"""Protocols and aliases shared by the rooms."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

Hyperparameters = Mapping[str, Any]
"""One ``torch.optim`` parameter group without its parameters."""


class ClippingLike(Protocol):
    """How the gradients were clipped before the optimizer saw them."""

    def clip(self, gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the clipped gradients, differentiably."""
        ...

    def clip_(self, parameters: Sequence[torch.Tensor]) -> None:
        """Clip the parameters' ``grad`` in place, as ``torch.nn.utils`` does."""
        ...


class StepLike(Protocol):
    """What is known of one recorded training step."""

    @property
    def step(self) -> int:
        """Number of the step, from 0."""
        ...

    @property
    def rows(self) -> torch.Tensor:
        """``(batch,)`` int64: the samples of the batch, as rows of the data."""
        ...

    @property
    def data(self) -> int:
        """Which of the data sets given to ``fit`` and ``partial_fit``."""
        ...

    @property
    def seed(self) -> int | None:
        """Seed of the random numbers that the step drew; ``None`` if it drew none."""
        ...

    @property
    def hyperparameters(self) -> tuple[Hyperparameters, ...]:
        """What the optimizer really used, a mapping for each parameter group."""
        ...

    @property
    def active(self) -> tuple[int, ...]:
        """Positions of the parameters that had a gradient."""
        ...

    @property
    def clipping(self) -> ClippingLike | None:
        """The gradient clipping in force."""
        ...

    @property
    def compiled_size(self) -> int | None:
        """Number of samples that compiled code took the batch for; ``None`` if none."""
        ...
