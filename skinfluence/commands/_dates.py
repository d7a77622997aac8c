"""Cells as dates and times of day."""

import re
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.tseries.api import guess_datetime_format

from ._cells import is_missing, is_text, texts

_ISO, _QUARTERS = "ISO8601", "quarters"
_ISO_DATE = r"\d{4}-\d\d(?:-\d\d(?:[ T].*)?)?"
_QUARTER = r"(\d{4})[ :-]?[Qq]0?([1-4])"
_DIGITS_DATE = r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"

# What pandas does not guess. The day comes first: where the month may as well, the
# first of two formats is taken, and the other one told.
_DAYS = ["%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y"]
_TIMES = ["%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p"]
_FORMATS = [
    *(day.replace("/", mark) for mark in "/.-" for day in _DAYS),
    *(f"{day} {time}" for day in _DAYS for time in _TIMES),
    *("%m/%Y", "%m.%Y", "%Y/%m", "%b %Y", "%B %Y", "%b-%Y", "%b %y", "%b-%y"),
    *_TIMES,
]

_GUESSES, _TRIED = 5, 200  # cells to guess formats from, and to try formats on

_WORDS = {
    "%d": "DD", "%m": "MM", "%Y": "YYYY", "%y": "YY", "%b": "Mon", "%B": "Month",
    "%H": "hh", "%I": "hh", "%M": "mm", "%S": "ss", "%p": "AM", "%f": "ffffff",
    _ISO: "YYYY-MM-DD", _QUARTERS: "YYYYQ1",
}  # fmt: skip


class Dates(NamedTuple):
    """Cells in days, NaN where they are no dates, and how they are written.

    `other` is the format in which day and month are exchanged, if it fits as well.
    """

    values: np.ndarray
    written: str
    other: str = ""


def dates(
    column: pd.Series, written: str | None = None, first: str | None = None
) -> Dates:
    """Return the cells in days since 1970, and how they are written.

    By default in the format in which most cells can be read; `first` is "day" or
    "month" where that must come first.
    """
    if not is_text(column):
        return Dates(_days(column, _ISO), _ISO)
    if written is not None:
        return Dates(_days(column, written), written)
    cells = texts(column[~is_missing(column)]).unique()
    few = pd.Series(cells[:_TRIED], dtype=object)
    values = {
        way: _days(column, way)
        for way in _formats(few)
        if _fits(way, first) and np.isnan(_days(few, way)).mean() < 0.5
    }
    if not values:
        return Dates(np.full(len(column), np.nan), _ISO)
    best = min(values, key=lambda way: int(np.isnan(values[way]).sum()))
    other = _exchanged(best)
    # Points separate a day from a month, never a month from a day.
    if "." in best or not _as_good(values.get(other), values[best]):
        other = ""
    return Dates(values[best], best, other)


def in_words(written: str) -> str:
    """Return a format as people write it."""
    codes = "|".join(["%[a-zA-Z]", _ISO, _QUARTERS])
    return re.sub(codes, lambda found: _WORDS[found[0]], written)


def _as_good(other: np.ndarray | None, values: np.ndarray) -> bool:
    if other is None or np.array_equal(other, values, equal_nan=True):
        return False
    return np.array_equal(np.isnan(other), np.isnan(values))


def _exchanged(written: str) -> str:
    """Return a format with day and month exchanged."""
    other = {"%d": "%m", "%m": "%d"}
    return re.sub("%[dm]", lambda found: other[found[0]], written)


def _fits(written: str, first: str | None) -> bool:
    order = "".join(re.findall("%[dm]", written))
    return first is None or order != {"day": "%m%d", "month": "%d%m"}[first]


def _formats(cells: pd.Series) -> Iterator[str]:
    """Yield formats in which cells may be written."""
    if cells.str.fullmatch(_ISO_DATE).mean() > 0.5:
        yield _ISO
    elif cells.str.fullmatch(_QUARTER).mean() > 0.5:
        yield _QUARTERS
    elif cells.str.fullmatch(_DIGITS_DATE).mean() > 0.5:
        yield "%Y%m%d"
    # Plain numbers and plain words are no dates.
    elif cells.str.contains(r"\d[^\d]|[^\d]\d").any():
        yield from dict.fromkeys([*sorted(_guessed(cells[:_GUESSES])), *_FORMATS])


def _guessed(cells: pd.Series) -> set[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        guesses = {
            guess_datetime_format(cell, dayfirst=day_first)
            for cell in cells
            for day_first in (False, True)
        }
    known = {each for each in guesses if each and _codes(each) <= set(_WORDS)}
    pairs = {_exchanged(each) for each in known if {"%d", "%m"} <= _codes(each)}
    # After a year the month comes first.
    return {each for each in known | pairs if not re.match("%Y.%d", each)}


def _codes(written: str) -> set[str]:
    return set(re.findall("%.", written))


def _days(column: pd.Series, written: str) -> np.ndarray:
    values: Any = column
    if is_text(column):
        values = texts(column)
        if written == _ISO:
            values = values.where(values.str.fullmatch(_ISO_DATE).astype(bool))
        elif written == _QUARTERS:
            parts = values.str.extract(rf"\A{_QUARTER}\Z").astype(float)
            months = (3 * parts[1] - 2).map("{:02.0f}".format)
            values, written = parts[0].map("{:.0f}".format) + "-" + months, _ISO
    # In UTC: cells with and without a time zone cannot be compared otherwise.
    stamps = pd.to_datetime(values, format=written, errors="coerce", utc=True)
    epoch = pd.Timestamp(0, tz="UTC")
    return ((stamps - epoch) / pd.Timedelta(days=1)).to_numpy(dtype=np.float64)
