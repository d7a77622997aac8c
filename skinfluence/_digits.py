"""Numbers in text, without digits that no person wrote."""

import re

# More digits than that come from a computation.
_MOST, _SHOWN = 10, 7
_DECIMALS = re.compile(r"(?<!\d)(\d+)([.,])(\d+)(?![.,]?\d)")


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
