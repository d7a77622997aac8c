"""Cells as numbers: with currencies, units, and marks of thousands."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ._cells import finite, is_missing, is_text, texts

_CURRENCY = (
    r"(?:[A-Z]{0,3}[$€£¥₹₽₩₺₪]|(?:USD|EUR|GBP|CHF|JPY|CAD|AUD|INR|CNY)(?=[ \d-]))"
)
_UNIT = r"(?:%|‰|[$€£¥₹₽₩₺₪]|°?[^\W\d_]{1,6}[²³]?(?:/[^\W\d_]{1,6}[²³]?)?\.?)"
_NUMBER = re.compile(
    rf"(?P<sign>[-+−]?)(?P<before>{_CURRENCY}?)\s?(?P<sign2>[-−]?)"
    r"(?P<body>(?:\d[\d.,'’\s]*|[.,])?\d[.,]?)(?P<exponent>(?:[eE][-+]?\d+)?)"
    rf"\s?(?P<after>{_UNIT}?)"
)
# Spans of time, as pandas and datetime write them: -1 day, 18:00:00 is minus six hours.
# Without a mark before the hours, a negative one could mean either.
_HOURS = r"\d\d?:\d\d:\d\d(?:\.\d+)?"
_SPAN = rf"\+?\d+ days?(?:(?:,? | \+){_HOURS})?|-\d+ days?(?:(?:, | \+){_HOURS})?"
_DAYS = "days"
# Marks between groups of three digits, besides the one that is not the decimal mark.
_GROUPING = r"\s'’"


class Numbers(NamedTuple):
    """Cells as numbers, NaN where they are none, and their unit, such as "kg"."""

    values: np.ndarray
    unit: str = ""


@dataclass(frozen=True, slots=True)
class WrittenNumber:
    """A number, and how it is written in its cell, such as "5 kg"."""

    text: str
    value: float

    def __str__(self) -> str:
        return self.text

    def __float__(self) -> float:
        return self.value


def plain_numbers(column: pd.Series, decimal: str = ".") -> np.ndarray:
    """Return the cells as numbers; NaN where there is more than digits and a mark."""
    values: Any = column
    if is_text(column):
        values = texts(column)
        if decimal != ".":
            swap = str.maketrans({decimal: ".", ".": decimal})
            values = values.str.translate(swap)
    return finite(pd.to_numeric(values, errors="coerce"))


def numbers(column: pd.Series, decimal: str = ".", unit: str | None = None) -> Numbers:
    """Return the cells as numbers, without currencies, units and marks of thousands.

    Cells in another unit than `unit`, by default the most frequent one, are NaN; cells
    without any are taken to be in the same. A percentage is a number of percent.
    """
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        spans: Any = column
        return Numbers(finite(spans / pd.Timedelta(days=1)), _DAYS)
    if not is_text(column):
        return Numbers(plain_numbers(column))
    values, units = _read(column, decimal)
    # A column may be written in another way than the rest of its file.
    if (np.isnan(values) & ~is_missing(column)).any():
        in_other = _read(column, "," if decimal == "." else ".")
        if np.isnan(in_other[0]).sum() < np.isnan(values).sum():
            values, units = in_other
    if unit is None:
        known = Counter(units[~np.isnan(values) & (units != "")].tolist())
        unit = max(sorted(known), key=lambda each: known[each], default="")
    return Numbers(np.where(np.isin(units, ["", unit]), values, np.nan), unit)


def _read(column: pd.Series, decimal: str) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers under a decimal mark, and the unit of each."""
    values = plain_numbers(column, decimal)
    units = np.full(len(values), "", dtype=object)
    rest = np.flatnonzero(np.isnan(values) & ~is_missing(column))
    cells = texts(column).iloc[rest]
    rest = rest[cells.str.contains(r"\d").to_numpy(dtype=bool)]
    if len(rest):
        cells = texts(column).iloc[rest]
        parts = cells.str.extract(rf"\A{_NUMBER.pattern}\Z")
        values[rest] = _parsed(parts, decimal)
        units[rest] = (
            parts["before"].fillna("") + parts["after"].fillna("")
        ).to_numpy()
        spans = cells.str.fullmatch(_SPAN).to_numpy(dtype=bool)
        values[rest[spans]] = _in_days(cells[spans])
        units[rest[spans]] = _DAYS
    return values, units


def _in_days(spans: pd.Series) -> np.ndarray:
    plus = spans.str.replace(", ", " +", regex=False)
    found: Any = pd.to_timedelta(plus, errors="coerce")
    return finite(found / pd.Timedelta(days=1))


def _parsed(parts: pd.DataFrame, decimal: str) -> np.ndarray:
    """Return numbers from the parts of cells; NaN where the marks do not fit."""
    mark, group = re.escape(decimal), "," if decimal == "." else re.escape(".")
    grouped = rf"[1-9]\d{{0,2}}([{group}{_GROUPING}])(?:\d{{2,3}}\1)*\d{{3}}"
    pattern = rf"(?:{grouped}|\d*)(?:{mark}\d*)?"
    body = parts["body"].where(parts["body"].str.fullmatch(pattern, na=False))
    body = body.str.replace(rf"[{group}{_GROUPING}]", "", regex=True)
    body = body.str.replace(decimal, ".", regex=False)
    minus = (
        parts["sign"].isin(["-", "−"]) | parts["sign2"].isin(["-", "−"])
    ).to_numpy()
    values = finite(pd.to_numeric(body + parts["exponent"], errors="coerce"))
    return np.where(minus, -values, values)


def written_like(cell: str, value: float, decimal: str = ".") -> str:
    """Return another number in the style of a cell: with its unit and its marks."""
    cell = cell.strip()
    found = _NUMBER.fullmatch(cell)
    if found is None:
        return str(value).replace(".", decimal)
    decimal, group = _marks(found["body"], decimal)
    # A whole number stays one: 3, not 3.0.
    whole = value.is_integer() and decimal not in found["body"]
    number = f"{int(abs(value)) if whole else abs(value):{',' if group else ''}}"
    # In this order: the one may be what the other was.
    number = number.replace(".", "\0").replace(",", group).replace("\0", decimal)
    before = cell[found.start("before") : found.start("sign2")]
    minus = "-" if value < 0 else ""
    return minus + before + number + cell[found.end("exponent") :]


def _marks(body: str, decimal: str) -> tuple[str, str]:
    """Return the decimal mark of digits, and the mark between their groups or none."""
    marks = re.findall(rf"[.,{_GROUPING}]", body)
    if not marks:
        return decimal, ""
    grouped = re.fullmatch(r"[1-9]\d{0,2}(?:(\D)(?:\d{2,3}\1)*\d{3})", body)
    if grouped and marks[0] != decimal:
        return decimal, marks[0]
    return marks[-1], marks[0] if marks[0] != marks[-1] else ""


def decimal_mark(frame: pd.DataFrame, default: str) -> str:
    """Return the decimal mark of a table's cells; `default` where nothing tells."""
    counts = dict.fromkeys([default, *".,"], 0)
    for _, column in frame.head(1000).items():
        cells = texts(column)
        for mark in counts:
            # Three digits may be thousands, unless a zero leads.
            sure = rf"[-+]?(?:\d+\{mark}(?:\d\d?|\d{{4,}})|0\{mark}\d+)"
            counts[mark] += int(cells.str.fullmatch(sure).sum())
    return max(counts, key=lambda mark: counts[mark])
