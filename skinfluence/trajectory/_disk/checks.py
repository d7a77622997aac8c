"""Values in files that come from elsewhere: what they must be, or ValueError."""

import re
from collections.abc import Callable
from typing import Any


def bare_name(value: Any, form: re.Pattern[str]) -> str:
    """Return a file's name, if it is of the library's own form."""
    if not form.fullmatch(value):
        raise ValueError(f"the file {value!r:.80}")
    return str(value)


def integer(value: Any) -> int:
    """Return an integer, if it is one of 64 bits."""
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError(f"{value!r:.80} where an integer must be")
    return value


def count(value: Any) -> int:
    """Return a number, if it is one of things."""
    if integer(value) < 0:
        raise ValueError(f"{value} where a number of things must be")
    return int(value)


def real(value: Any) -> float:
    """Return a number, if it is one."""
    if type(value) not in (int, float):
        raise ValueError(f"{value!r:.80} where a number must be")
    return float(value)


def optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the check of what may be None."""
    return lambda value: None if value is None else check(value)


def each(check: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return the check of a tuple's items."""

    def checked(values: Any) -> tuple[Any, ...]:
        if type(values) is not tuple:
            raise ValueError(f"{values!r:.80} where a tuple must be")
        return tuple(map(check, values))

    return checked


def text(value: Any) -> str:
    """Return a text, if it is one."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} where a text must be")
    return value
