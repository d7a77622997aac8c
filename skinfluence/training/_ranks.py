"""Processes that share the work on a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes of a ``torch.distributed`` group, and which of them this is.

    All must call the same methods in the same order. A process of its own is the only
    one of its group, and has all of the work.

    Attributes
    ----------
    rank, number : int
        Which process it is, from 0, and how many there are.
    group : torch.distributed.ProcessGroup or None
        Their group; None for the default one.
    """

    rank: int = 0
    number: int = 1
    group: Any = None

    @classmethod
    def of(cls, group: Any = None) -> "Ranks":
        """Return the processes of a group, which may not have begun."""
        if not distributed.is_available() or not distributed.is_initialized():
            return cls()
        rank, number = distributed.get_rank(group), distributed.get_world_size(group)
        return cls(rank, number, group)

    def own(self, parts: Sequence[T]) -> Sequence[T]:
        """Return this process's share of some parts: every `number`-th."""
        return parts[self.rank :: self.number]

    def gather(self, value: T) -> list[T]:
        """Return every process's value, in their order."""
        if self.number == 1:
            return [value]
        found: list[Any] = [None] * self.number
        distributed.all_gather_object(found, value, group=self.group)
        return found

    def gather_parts(self, own: Sequence[T]) -> list[T]:
        """Return all parts, given each process's share of them."""
        every = self.gather(own)
        count = sum(map(len, every))
        return [every[k % self.number][k // self.number] for k in range(count)]

    def total(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums of tensors over the processes."""
        if self.number == 1:
            return list(tensors)
        vector = torch.cat([tensor.detach().flatten() for tensor in tensors])
        distributed.all_reduce(vector, group=self.group)
        sizes = [tensor.numel() for tensor in tensors]
        return [
            part.view(tensor.shape).to(tensor.dtype)
            for part, tensor in zip(vector.split(sizes), tensors, strict=True)
        ]

    def agree(self, value: object) -> bool:
        """Whether every process has the same value."""
        return all(other == value for other in self.gather(value))
