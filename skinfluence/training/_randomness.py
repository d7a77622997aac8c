"""Per-step seeds, and generators that are restored after use."""

import os
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

# The default generators belong to the whole process: threads take turns.
_GENERATORS = threading.RLock()

_CPU = torch.device("cpu")

_PURPOSES = {"initialization": 0, "sampling": 1, "step": 2, "items": 3, "collation": 4}


def _renew_lock() -> None:
    """Give a forked process, such as a loader's worker, a lock that nobody holds."""
    global _GENERATORS
    _GENERATORS = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def derive_seed(seed: int, purpose: str, counter: int = 0) -> int:
    """Return the 64-bit seed of one purpose and count within the run's seed."""
    return derive_seeds(seed, purpose, counter, 1)[0]


def derive_seeds(seed: int, purpose: str, counter: int, number: int) -> list[int]:
    """Return several seeds of one purpose and count, as fast as one."""
    key = (_PURPOSES[purpose], counter)
    sequence = np.random.SeedSequence(seed, spawn_key=key)
    # PyTorch's seeds are signed 64-bit integers on some devices.
    return (sequence.generate_state(number, np.uint64) >> np.uint64(1)).tolist()


def _default_generators(device: torch.device) -> list[torch.Generator]:
    generators = [torch.default_generator]
    if device.type != "cpu":
        module = torch.get_device_module(device)
        # A device without such generators cannot be seeded: what draws on it is refused
        # as not repeatable.
        if hasattr(module, "default_generators"):
            current = device == torch.device(device.type)
            index = module.current_device() if current else device.index
            generators.append(module.default_generators[index])
    return generators


class Draws:
    """Whether anything was drawn from the generators inside a block."""

    def __init__(self) -> None:
        self.any = False


@contextmanager
def drawn_inside(device: torch.device) -> Iterator[Draws]:
    """Note whether anything is drawn from the generators inside the block."""
    draws = Draws()
    generators = _default_generators(device)
    before = [generator.get_state() for generator in generators]
    yield draws
    draws.any = _drew(generators, before)


def _drew(generators: Sequence[torch.Generator], before: Sequence[Tensor]) -> bool:
    return not all(
        torch.equal(generator.get_state(), state)
        for generator, state in zip(generators, before, strict=True)
    )


def seeded(seed: int | None, device: torch.device) -> AbstractContextManager[Draws]:
    """Draw from `seed` inside the block, and restore the generators after it.

    Nothing is done for None, the seed of a block that is known to draw nothing.

    The generators' own ``manual_seed`` is used: ``torch.manual_seed`` also seeds
    devices that are not in use and costs as much as half a small training step.
    """
    return nullcontext(Draws()) if seed is None else _Seeded(seed, device)


class _Seeded(AbstractContextManager[Draws]):
    """The block of :func:`seeded`. A generator's would cost twice as much."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed = seed
        self._device = device

    def __enter__(self) -> Draws:
        self._lock = _GENERATORS
        self._lock.acquire()
        self._generators: list[torch.Generator] = []
        self._states: list[Tensor] = []
        try:
            self._generators = _default_generators(self._device)
            self._states = [generator.get_state() for generator in self._generators]
            self._before = [
                generator.manual_seed(self._seed).get_state()
                for generator in self._generators
            ]
        except BaseException:
            self._leave()
            raise
        self._draws = Draws()
        return self._draws

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            if kind is None:
                self._draws.any = _drew(self._generators, self._before)
        finally:
            self._leave()

    def _leave(self) -> None:
        try:
            # None but those whose states are known were seeded.
            for generator, state in zip(self._generators, self._states, strict=False):
                generator.set_state(state)
        finally:
            self._lock.release()


@contextmanager
def all_seeded(seed: int, device: torch.device = _CPU) -> Iterator[None]:
    """Seed NumPy's and Python's global generators too.

    Splits, samplers and Datasets may draw on them.
    """
    with seeded(seed, device):
        states = np.random.get_state(), random.getstate()  # noqa: NPY002
        try:
            seed_others(seed)
            yield
        finally:
            np.random.set_state(states[0])  # noqa: NPY002
            random.setstate(states[1])


def seed_anew(seed: int) -> None:
    """Seed the generators of the CPU again, within a block of :func:`all_seeded`."""
    torch.default_generator.manual_seed(seed)
    seed_others(seed)


def seed_others(seed: int) -> None:
    """Seed NumPy's and Python's global generators."""
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)


def all_generators() -> tuple[Any, ...]:
    """Return the states of the CPU's global generators, to be compared."""
    own = torch.default_generator.get_state().numpy().tobytes()
    return own, *other_generators()


def other_generators() -> tuple[Any, ...]:
    """Return the states of NumPy's and Python's global generators, to be compared."""
    _, keys, *rest = np.random.get_state()  # noqa: NPY002
    return np.asarray(keys).tobytes(), rest, random.getstate()
