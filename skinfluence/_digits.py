"""Numbers in text: with a noun, as shares, and without digits that nobody wrote."""

import re
from collections.abc import Mapping

# More digits than that come from a computation.
_MOST, _SHOWN = 10, 7
_DECIMALS = re.compile(r"(?<!\d)(\d+)([.,])(\d+)(?![.,]?\d)")


def counted(n: int, word: str) -> str:
    """Return a number with a noun: "1 row", "2 rows"."""
    return f"{n:,} {word}{'s' * (n != 1)}"


def share(part: float) -> str:
    """Return a share in percent, with two digits."""
    percent = 100 * part
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def measured(amount: float, units: Mapping[str, float]) -> str:
    """Return an amount in the largest unit that it holds: "1.5 min".

    Parameters
    ----------
    amount : float
        In the smallest unit.
    units : mapping of str to float
        The size of each unit, the largest first.
    """
    held = (unit for unit, size in units.items() if amount >= size)
    unit = next(held, [*units][-1])
    value = amount / units[unit]
    return f"{value:.3g} {unit}" if value < 100 else f"{value:,.0f} {unit}"


def without_many_digits(text: str) -> str:
    """Cut the decimals of numbers of many digits, and say so by an ellipsis.

    Parameters
    ----------
    text : str
        A number as it is written, with a decimal point or comma; perhaps with a unit.
    """
    return _DECIMALS.sub(_cut, text)


def _cut(number: re.Match[str]) -> str:
    whole, mark, decimals = number.groups()
    n_whole = len(whole.lstrip("0"))
    if n_whole + len(decimals) <= _MOST:
        return number[0]
    return f"{whole}{mark}{decimals[: max(_SHOWN - n_whole, 2)]}…"
