"""Bad inputs: each is refused by an error that says what is wrong with which parameter.

They are those of tests/bad_inputs.py, which also tells what an error must say.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import Family, Outcome
from .forks import Answer, Fork

NAMED, UNCLEAR = "named", "unclear"


def _tried(each: Any) -> Answer:
    """Return what came of a bad input."""
    lacks = each.complaint()
    return [UNCLEAR, lacks] if lacks else [NAMED, ""]


def run(n: int, rng: np.random.Generator, folder: Path) -> Iterator[Outcome]:
    """Yield the outcomes of bad inputs."""
    from tests import bad_inputs

    for each in bad_inputs.generated(n, seed=int(rng.integers(2**32))):
        yield Outcome(each.kind, each.fault, *Fork(_tried, each).answer())


FAMILY = Family(run, 1000, (NAMED,))
