"""Per-step seeds, and generators that are put back after use."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# The default generators belong to the whole process: threads take turns.
_GENERATORS = threading.RLock()

_PURPOSES = {"initialization": 0, "sampling": 1, "step": 2}


def derive_seed(seed: int, purpose: str, counter: int = 0) -> int:
    """Return the 64-bit seed of one purpose and count within the run's seed."""
    key = (_PURPOSES[purpose], counter)
    sequence = np.random.SeedSequence(seed, spawn_key=key)
    # PyTorch's seeds are signed 64-bit integers on some devices.
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _default_generators(device: torch.device) -> list[torch.Generator]:
    generators = [torch.default_generator]
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    return generators


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from `seed` inside the block and leave no trace on the generators.

    The generators' own ``manual_seed`` is used: ``torch.manual_seed`` also seeds
    devices that are not in use and costs as much as half a small training step.
    """
    with _GENERATORS:
        generators = _default_generators(device)
        states = [generator.get_state() for generator in generators]
        try:
            for generator in generators:
                generator.manual_seed(seed)
            yield
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)
