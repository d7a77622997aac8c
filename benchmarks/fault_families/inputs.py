"""Bad inputs: each is refused before any work, by an error that names the parameter.

They are those of tests/bad_inputs.py, which also judges what the errors say.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from . import Family, Outcome
from .forks import Fork

REFUSED = "refused"


def run(n: int, rng: np.random.Generator, folder: Path) -> Iterator[Outcome]:
    """Yield what came of bad inputs."""
    from tests import bad_inputs

    with bad_inputs.no_training():
        for each in bad_inputs.generated(n, int(rng.integers(2**32))):
            outcome, said = Fork(each.outcome).answer()
            detail = f"{each.value!r}: {said}"[:300]
            yield Outcome("a parameter", f"{each.target}: {each.name}", outcome, detail)


FAMILY = Family(run, 1000, (REFUSED,))
