"""How far a surrogate is from its step function."""

import math

from .._numbers import is_real


def check_temperature(temperature: object) -> None:
    """Refuse what is no finite number above 0."""
    if not is_real(temperature) or not 0 < float(temperature) < math.inf:
        raise ValueError(
            f"`temperature` must be a finite number above 0, got {temperature!r}."
        )
