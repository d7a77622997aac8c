"""Families of faults: what may befall a run, a file or a folder, tried many times.

A family yields the outcomes of its trials, one after the other. Each trial runs in a
fork of this process, so nothing is imported again and no harm is done here.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Outcome(NamedTuple):
    """How a trial ended.

    Attributes
    ----------
    kind : str
        What the fault befell.
    fault : str
        Which fault it was.
    outcome : str
        What came of it, in the words of its family.
    detail : str
        More, of one that is not as promised.
    """

    kind: str
    fault: str
    outcome: str
    detail: str = ""


class Family(NamedTuple):
    """Trials of one sort.

    Attributes
    ----------
    run : callable
        ``run(n, rng, folder) -> iterator of Outcome`` for about n trials, which work in
        the folder. Where processes work for a time, n is in seconds.
    n_trials : int
        How many there are by default.
    promised : tuple of str
        The outcomes that are as promised.
    """

    run: Callable[[int, np.random.Generator, Path], Iterator[Outcome]]
    n_trials: int
    promised: tuple[str, ...]


def shares(n: int, kinds: int) -> list[int]:
    """Divide trials among kinds as evenly as can be."""
    return [n // kinds + (k < n % kinds) for k in range(kinds)]
