"""States in files of several each, read lazily."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from ..._files import damaged, read_file
from ...training import State
from .._store import StateStore
from .checks import bare_name, count, text
from .format import states_from_bytes

SHARD = re.compile(r"states-(\d{6,12})\.safetensors")
"""Names of the files, with their numbers."""


@dataclass(eq=False)
class Shard:
    """Some states that share a file, or will.

    Attributes
    ----------
    file : str
        Name of the file.
    sizes : dict of int to int
        Number of a state -> its size in bytes, for those not deleted.
    states : dict of int to State or None
        The states while they are in memory; None once they are in the file.
    length, digest : int, str
        Length and checksum of the file.
    """

    file: str
    sizes: dict[int, int] = field(default_factory=dict)
    states: dict[int, State] | None = None
    length: int = 0
    digest: str = ""
    _ranges: tuple[int, list[list[int]]] = (0, [])

    def entry(self) -> dict[str, Any]:
        """Return what the manifest says of the file."""
        # States are only deleted once there is a file: their count tells of a change.
        if self._ranges[0] != len(self.sizes):
            self._ranges = len(self.sizes), _ranges(self.sizes)
        return {
            "file": self.file,
            "bytes": self.length,
            "crc32": self.digest,
            "states": self._ranges[1],
        }

    @classmethod
    def from_entry(cls, entry: dict[str, Any], n_steps: int) -> "Shard":
        """Return the shard that the manifest of a run with so many steps tells of."""
        whole: list[tuple[range, int]] = []
        for numbers in entry["states"]:
            if not all(type(number) is int for number in numbers):
                raise ValueError(f"the states {numbers!r:.80}")
            start, stop, stride, size = numbers
            # Checked before any of them is counted: there may be very many.
            if not (0 <= start < stop <= n_steps + 1 and stride > 0 and size >= 0):
                raise ValueError(f"the states {numbers} of {n_steps} steps")
            whole.append((range(start, stop, stride), size))
        if sum(len(steps) for steps, _ in whole) > n_steps + 1:
            raise ValueError(f"more states than {n_steps} steps have")
        sizes = {step: size for steps, size in whole for step in steps}
        return cls(
            bare_name(entry["file"], SHARD),
            sizes,
            None,
            count(entry["bytes"]),
            text(entry["crc32"]),
        )

    @property
    def number(self) -> int:
        """Its place among the files that were ever begun."""
        found = SHARD.fullmatch(self.file)
        assert found is not None
        return int(found[1])


def _ranges(sizes: dict[int, int]) -> list[list[int]]:
    """Return runs [start, stop, stride, size] of evenly spaced states of one size."""
    runs: list[list[int]] = []
    for step, size in sizes.items():
        if runs and runs[-1][3] == size:
            start, stop, stride, _ = runs[-1]
            single = stop == start + 1
            if (single and step > start) or step == stop - 1 + stride:
                runs[-1] = [start, step + 1, step - (stop - 1), size]
                continue
        runs.append([step, step + 1, 1, size])
    return runs


class SavedStates(StateStore):
    """States in a folder, which is never changed; what is added stays in memory.

    Parameters
    ----------
    folder : Path
        Where the files are.
    shards : iterable of Shard
        The files.
    device : torch.device or str
        Where the states are put.
    """

    def __init__(
        self,
        folder: Path,
        shards: Iterable[Shard] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        self._folder = folder
        self._device = device
        self._places = {step: shard for shard in shards for step in shard.sizes}
        self._open = Shard("", states={})
        self._cache: tuple[Shard, dict[int, State]] | None = None

    def __getitem__(self, step: int) -> State:
        shard = self._places[step]
        # Another thread may take the states out of memory meanwhile.
        states = shard.states
        return (self._read(shard) if states is None else states)[step]

    def _read(self, shard: Shard) -> dict[int, State]:
        """Return the states of a file; those of the last one are at hand."""
        if self._cache is None or self._cache[0] is not shard:
            self._cache = None  # not two at once
            path = self._folder / shard.file
            data = read_file(path, shard.length, shard.digest)
            try:
                states = states_from_bytes(data, self._device)
                if lost := shard.sizes.keys() - states.keys():
                    raise ValueError(f"the state {min(lost)} is not in it")
                self._cache = shard, states
            except Exception as error:
                raise damaged(path, f"it is not a file of states ({error})") from error
        return self._cache[1]

    def __setitem__(self, step: int, state: State) -> None:
        if step in self._places:
            del self[step]
        assert self._open.states is not None
        self._measure(state)
        self._open.sizes[step] = self.size_of(state)
        self._open.states[step] = state
        self._places[step] = self._open

    def __delitem__(self, step: int) -> None:
        shard = self._places.pop(step)
        del shard.sizes[step]
        states = shard.states
        if states is not None:
            states.pop(step, None)

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __reversed__(self) -> Iterator[int]:
        return reversed(self._places)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self._folder

    def size(self, step: int) -> int:
        """Return what a state takes beside the one before it, in bytes."""
        return self._places[step].sizes[step]

    def size_of(self, state: State) -> int:
        """Return what a further state would take, in bytes."""
        # Each file has its own buffers.
        states = self._open.states or {}
        latest = next(reversed(states), None)
        return state.nbytes_beside(() if latest is None else states[latest].buffers)

    @property
    def nbytes(self) -> int:
        """Size of the states in bytes, wherever they are."""
        shards = dict.fromkeys(self._places.values())
        return sum(chain.from_iterable(shard.sizes.values() for shard in shards))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": None}
