"""States on a device while they fit, and the others in pinned host memory."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ..training import State
from ._store import MemoryStore
from ._trajectory import Trajectory

# Around a step there are two states; one more is on its way.
_NEAR = 3


class Arrival(NamedTuple):
    """A state that is being copied to the device, and what tells when it is there."""

    state: State
    event: Any


class Transfer(Protocol):
    """Copies states between a device and the host, without waiting for the copies."""

    def out(self, state: State) -> State:
        """Begin to copy a state to the host."""
        ...

    def back(self, state: State) -> Arrival:
        """Begin to copy it back; later copies come after earlier ones."""
        ...

    def arrive(self, arrival: Arrival) -> State:
        """Return the state; what is computed from now on comes after its copy."""
        ...

    def finish(self) -> None:
        """Wait until all copies are there."""
        ...


class StreamTransfer:
    """Copies on a stream of their own, beside what the device computes.

    Parameters
    ----------
    device : torch.device
        A device with memory and streams of its own, such as a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._own: torch.Stream | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"device": self.device, "_own": None}

    @property
    def _torch(self) -> Any:
        return torch.get_device_module(self.device)

    @property
    def _stream(self) -> torch.Stream:
        if self._own is None:
            self._own = self._torch.Stream(self.device)
        return self._own

    def out(self, state: State) -> State:
        """Begin to copy a state to pinned memory."""

        def copy(tensor: Tensor) -> Tensor:
            host = torch.empty_like(tensor, device="cpu", pin_memory=True)
            host.copy_(tensor, non_blocking=True)
            # Its memory must not be given away before it is copied.
            tensor.record_stream(self._stream)
            return host

        # The state must be there before it is copied.
        self._stream.wait_stream(self._torch.current_stream(self.device))
        with self._torch.stream(self._stream):
            return state.each(copy)

    def back(self, state: State) -> Arrival:
        """Begin to copy a state from pinned memory, after it has come there."""
        current = self._torch.current_stream(self.device)

        def copy(tensor: Tensor) -> Tensor:
            found = tensor.to(self.device, non_blocking=True)
            found.record_stream(current)
            return found

        with self._torch.stream(self._stream):
            return Arrival(state.each(copy), self._stream.record_event())

    def arrive(self, arrival: Arrival) -> State:
        """Let the device compute on only after the copy, but not after later ones."""
        self._torch.current_stream(self.device).wait_event(arrival.event)
        return arrival.state

    def finish(self) -> None:
        """Wait for the copies."""
        self._stream.synchronize()


class SpillingStore(MemoryStore):
    """States in the device's memory up to a size, and the later ones on the host.

    A run is walked from its end: a state on the host is asked for one after the other,
    and the next one is copied back meanwhile.

    Parameters
    ----------
    max_bytes : int
        What may be held on the device.
    transfer : Transfer
        Copies the others.
    """

    def __init__(self, max_bytes: int, transfer: Transfer) -> None:
        super().__init__()
        self.max_bytes = max_bytes
        self.transfer = transfer
        self._here: dict[int, int] = {}  # sizes of the states on the device
        self._held = 0
        self._near: OrderedDict[int, Arrival] = OrderedDict()

    def __setitem__(self, step: int, state: State) -> None:
        if step in self:
            del self[step]
        size = self.size_of(state)
        if self._held + size <= self.max_bytes:
            self._here[step] = size
            self._held += size
            super().__setitem__(step, state)
        else:
            super().__setitem__(step, self.transfer.out(state))

    def __getitem__(self, step: int) -> State:
        state = super().__getitem__(step)
        if step in self._here:
            return state
        self.prefetch(step)
        return self.transfer.arrive(self._near[step])

    def __delitem__(self, step: int) -> None:
        super().__delitem__(step)
        self._held -= self._here.pop(step, 0)
        self._near.pop(step, None)

    def prefetch(self, step: int) -> None:
        """Begin to copy a state back to the device."""
        if step in self._here or step not in self:
            return
        if step not in self._near:
            self._near[step] = self.transfer.back(self._states[step])
        self._near.move_to_end(step)
        while len(self._near) > _NEAR:
            self._near.popitem(last=False)

    def __getstate__(self) -> dict[str, Any]:
        self.transfer.finish()
        return {**self.__dict__, "_near": OrderedDict()}


def spill(
    run: Trajectory,
    max_bytes: int,
    device: torch.device,
    transfer: Callable[[torch.device], Transfer] = StreamTransfer,
) -> None:
    """Let a run in memory hold so much on the device, and the rest on the host.

    Parameters
    ----------
    run : Trajectory
        The run; one that is on disk stays there.
    max_bytes : int
        What its kept states may take on the device.
    device : torch.device
        The device.
    transfer : callable
        Makes what copies the states.
    """
    store = run._store
    if isinstance(store, SpillingStore):
        store.max_bytes = max_bytes
    elif type(store) is MemoryStore:
        run._store = SpillingStore(max_bytes, transfer(device))
        run._store.update(store)


def held_on_device(run: Trajectory) -> int:
    """Return what a run's kept states take on the device."""
    store = run._store
    return store._held if isinstance(store, SpillingStore) else run.nbytes
