"""Storage of the states of a run."""

from abc import abstractmethod
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from torch import Tensor

from ..training import State, StepRecord
from ._facts import RunFacts


class StateStore(MutableMapping[int, State]):
    """States by the number of the step that began from them."""

    # Size of the latest state's own tensors, and of those that it shares.
    _latest: tuple[int, int] | None = None
    _buffers: tuple[Tensor, ...] | None = None

    def _measure(self, state: State) -> None:
        """Note the size of a state that is added, and what it shares."""
        # Nothing is known of the buffers of the first one: it counts like the others.
        known = state.buffers if self._buffers is None else self._buffers
        own = state.nbytes_beside(known)
        self._latest, self._buffers = (own, state.nbytes - own), state.buffers

    def room(self, max_bytes: int) -> int:
        """Return how many states like the latest fit into so many bytes."""
        own, shared = self._latest or (self.size(next(reversed(self))), 0)
        return (max_bytes - shared) // max(1, own)

    @property
    def folder(self) -> Path | None:
        """Where they are on disk; None in memory."""
        return None

    @abstractmethod
    def __reversed__(self) -> Iterator[int]:
        """Iterate over the numbers, the last one first."""

    @abstractmethod
    def size(self, step: int) -> int:
        """Return what a state takes beside the one before it, in bytes."""

    @abstractmethod
    def size_of(self, state: State) -> int:
        """Return what a further state would take, in bytes."""

    def prefetch(self, step: int) -> None:
        """Begin to fetch the state that is needed next, if it is far away."""

    def note(self, record: StepRecord, facts: RunFacts) -> None:
        """Take note of a step that was added to the run, and of what is known of it."""

    def renew(self, record: StepRecord) -> None:
        """Take note of the digest that an earlier step has got."""

    def cut(self, n_steps: int) -> None:
        """Take note that the run now ends after `n_steps` steps."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Size of the states in bytes."""


class MemoryStore(StateStore):
    """States by the number of the step that began from them, in memory."""

    def __init__(self) -> None:
        self._states: dict[int, State] = {}
        self._sizes: dict[int, int] = {}

    def __getitem__(self, step: int) -> State:
        return self._states[step]

    def __setitem__(self, step: int, state: State) -> None:
        self._measure(state)
        self._sizes[step] = self.size_of(state)
        self._states[step] = state

    def __delitem__(self, step: int) -> None:
        del self._states[step], self._sizes[step]

    def __contains__(self, step: object) -> bool:
        return step in self._states

    def __iter__(self) -> Iterator[int]:
        return iter(self._states)

    def __reversed__(self) -> Iterator[int]:
        return reversed(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def size(self, step: int) -> int:
        """Return what a state takes beside the one before it, in bytes."""
        return self._sizes[step]

    def size_of(self, state: State) -> int:
        """Return what a further state would take, in bytes."""
        latest = next(reversed(self._states), None)
        return state.nbytes_beside(
            () if latest is None else self._states[latest].buffers
        )

    @property
    def nbytes(self) -> int:
        """Size of the states in bytes."""
        states = self._states.values()
        buffers = [(), *(state.buffers for state in states)]
        return sum(map(State.nbytes_beside, states, buffers))
