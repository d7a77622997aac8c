"""What counts as a number among parameters, everywhere: booleans do not."""

import math
from collections.abc import Iterable
from numbers import Integral
from typing import Any, TypeGuard

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

# No length, and no count of anything in memory, is larger.
_LARGEST = int(np.iinfo(np.int64).max)


def is_real(value: object) -> TypeGuard[float]:
    """Whether a value is a number, and not a boolean.

    Only what torch and NumPy compute with as it is: no fraction, no decimal, and no
    integer that has more than their 64 bits.
    """
    if is_integer(value):
        return -_LARGEST <= value <= _LARGEST
    return isinstance(value, (float, np.floating))


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is an integer, and not a boolean."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_integer(name: str, value: object, least: int = 0) -> int:
    """Return a count; refuse what is none."""
    if is_integer(value) and least <= value <= _LARGEST:
        return int(value)
    limit = " and below 2**63" if is_integer(value) and value > _LARGEST else ""
    raise ValueError(
        f"`{name}` must be an integer of at least {least}{limit}, got {value!r}."
    )


def are_counts(values: Iterable[object], least: int = 0) -> bool:
    """Whether all values are integers of at least `least`."""
    return all(is_integer(value) and value >= least for value in values)


def check_finite(options: Iterable[tuple[str, Any, object]]) -> None:
    """Refuse what is no finite number where the default is one, or several.

    Parameters
    ----------
    options : iterable of (str, object, object)
        Names, values and defaults. A tensor must be finite whatever its default is.
    """
    for name, value, default in options:
        several = isinstance(default, tuple) and isinstance(value, (tuple, list))
        numbers = several or is_real(default)
        for each in value if several else [value]:
            if isinstance(each, torch.Tensor):
                finite = bool(torch.isfinite(each).all())
            else:
                finite = is_real(each) and math.isfinite(each)
                finite = finite or not numbers or (several and each is None)
            if not finite:
                kind = "a finite int or float" if numbers and not several else "finite"
                raise ValueError(f"`{name}` must be {kind}, got {value!r:.200}.")


class Number(Interval):
    """scikit-learn's constraint of the same kind, without booleans."""

    def is_satisfied_by(self, val: object) -> bool:
        """Whether a value is in the interval."""
        return is_real(val) and bool(super().is_satisfied_by(val))


class Count(Number):
    """A constraint to integers of at least `least`, as :func:`check_integer` has it."""

    def __init__(self, least: int) -> None:
        super().__init__(Integral, least, _LARGEST, closed="both")

    def __str__(self) -> str:
        return f"an int in the range [{self.left}, 2**63)"


RANDOM_STATE: list[Any] = [
    Number(Integral, 0, 2**32 - 1, closed="both"),
    np.random.RandomState,
    None,
]
"""Constraints on a `random_state`: scikit-learn's own take booleans for numbers."""


def random_generator(random_state: object) -> np.random.RandomState:
    """Return the generator of a `random_state`; refuse what is none.

    NumPy's global one for None, as everywhere in scikit-learn.
    """
    seed = is_integer(random_state) and 0 <= random_state < 2**32
    generator = isinstance(random_state, np.random.RandomState)
    if not seed and not generator and random_state is not None:
        raise ValueError(
            "`random_state` must be an integer from 0 to 2**32 - 1, an instance of "
            f"numpy.random.RandomState or None, got {random_state!r}."
        )
    found: np.random.RandomState = check_random_state(random_state)
    return found
