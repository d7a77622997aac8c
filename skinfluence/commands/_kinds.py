"""What kind of column each is, and why."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .._digits import without_many_digits
from ..exceptions import TableError
from ..issues import numbering
from ._cells import has_codes, is_dated, is_missing, is_text, texts
from ._choices import (
    CATEGORY,
    DATE,
    FIRST_OF_DATE,
    MOST_CATEGORIES,
    NUMBER,
    TEXT,
    UNUSED,
)
from ._dates import dates
from ._dates import in_words as date_in_words
from ._numbers import Numbers, numbers
from ._tables import Table, listed

AS_REQUESTED = "as requested"

_MOSTLY = 0.95  # share of cells that must be numbers or dates; the rest may be slips
_MANY = 20  # up to this many different words are always categories
_WORDS = 4  # mean number of words per cell that makes a column text

# Words for a missing value; in a column of words they are categories like others.
_UNKNOWN = frozenset(
    [
        *(".", "..", "...", "--", "---", "*", "none", "nil", "na", "n.a.", "n.a"),
        *("nan", "n/a", "n.d.", "nd", "not available", "not applicable", "unknown"),
        *("unk", "missing", "undefined", "no data", "tbd", "k.a.", "#n/a", "#value!"),
        *("#div/0!", "#ref!", "#name?", "#null!", "#num!", "null", "(null)", "(blank)"),
    ]
)  # fmt: skip
_FEW_WORDS, _MOST_WORDS = 3, 0.5  # other such words, and the share of cells they fill

_CODE_NAMES = {
    *("id", "ids", "uuid", "guid", "key", "code", "ssn", "isbn", "ean", "sku"),
    *("zip", "zipcode", "postcode", "postal", "plz", "phone", "telephone", "tel"),
    *("fax", "barcode", "stratum", "strata", "fips"),
}  # fmt: skip
_NAME_WORDS = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_YEAR_NAMES = {"year", "yr", "jahr"}  # which go on from row to row in time series
_ID_ENDING = (
    "(?:customer|user|passenger|person|product|order|client|patient|row|sample|"
    "student|employee|account|transaction|session)id"
)
_FEWEST_IDS = 50  # fewer different numbers may fill their range by chance


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes
    ----------
    name : str
        Its name.
    kind : {"number", "date", "category", "text", "unused"}
        Its kind.
    why : str
        What it holds, as a reason for the kind.
    style : str
        The unit of numbers, or the format of dates.
    """

    name: str
    kind: str
    why: str = ""
    style: str = ""


def kind_of(table: Table, name: str, asked: str | None = None) -> Column:
    """Return a column's kind: as asked, or by its cells."""
    column = table.frame[name]
    missing = is_missing(column)
    if asked == UNUSED:
        return Column(name, UNUSED, AS_REQUESTED)
    if missing.all():
        return Column(name, UNUSED, "is empty")
    # Beside missing cells a single value is informative: it is there or not.
    if not missing.any() and texts(column).nunique() == 1:
        return Column(name, UNUSED, "has one value only")
    if asked is not None:
        return _as_asked(table, name, asked)
    return _as_number(table, name) or _as_date(table, name) or _as_words(table, name)


def _as_asked(table: Table, name: str, asked: str) -> Column:
    column, missing = table.frame[name], is_missing(table.frame[name])
    style = ""
    if asked == TEXT and not texts(column).str.contains(r"\w\w").any():
        raise TableError(f"--column {name}=text is not possible: it has no words.")
    if asked == NUMBER:
        values, style = numbers(column, table.file.decimal)
    elif asked == DATE or asked in FIRST_OF_DATE:
        values, style, _ = dates(column, first=FIRST_OF_DATE.get(asked))
        asked = DATE
    else:
        return Column(name, asked, AS_REQUESTED)
    others = np.flatnonzero(np.isnan(values) & ~missing)
    if len(others) + missing.sum() == len(column):
        raise TableError(
            f"--column {name}={asked} is not possible: no cell of {table.name!r} can "
            f"be read so, such as {_cell(table, name, others[0])}."
        )
    return Column(name, asked, AS_REQUESTED + _left_out(table, name, others), style)


def _as_number(table: Table, name: str) -> Column | None:
    column, missing = table.frame[name], is_missing(table.frame[name])
    if is_dated(column) or has_codes(column):
        return None
    found = numbers(column, table.file.decimal)
    odd = np.isnan(found.values) & ~missing
    slips = odd & ~_words_for_missing(column, odd, found.values)
    if slips.sum() > (1 - _MOSTLY) * (~missing).sum() or odd.sum() == (~missing).sum():
        return None
    identifies = _identifies(table, name, found.values)
    if identifies is not None:
        return Column(name, *identifies)
    why = _range(column, found) + _left_out(table, name, np.flatnonzero(odd))
    return Column(name, NUMBER, why, found.unit)


def _as_date(table: Table, name: str) -> Column | None:
    column, missing = table.frame[name], is_missing(table.frame[name])
    if not (is_dated(column) or is_text(column)):
        return None
    values, written, other = dates(column)
    odd = np.isnan(values) & ~missing
    slips = odd & ~_words_for_missing(column, odd, values)
    if slips.sum() > (1 - _MOSTLY) * (~missing).sum() or odd.sum() == (~missing).sum():
        return None
    if other:
        example = texts(column)[~missing].iloc[0]
        return Column(
            name,
            UNUSED,
            f"could be {date_in_words(written)} or {date_in_words(other)}, such as "
            f"{example!r}: say --column {name}=day-first or {name}=month-first",
        )
    left_out = _left_out(table, name, np.flatnonzero(odd))
    return Column(name, DATE, date_in_words(written) + left_out, written)


def _as_words(table: Table, name: str) -> Column:
    column = table.frame[name]
    present = texts(column[~is_missing(column)])
    distinct, n_words = present.nunique(), present.str.count(r"\w\w+").mean()
    why = _different(distinct)
    if has_codes(column):
        why += ", with leading zeros"
    if distinct <= max(_MANY, 0.2 * len(present)):
        return Column(name, CATEGORY, why)
    if n_words >= _WORDS:
        return Column(name, TEXT, f"{n_words:.0f} words each on average")
    if distinct <= 0.5 * len(present):
        return Column(name, CATEGORY, why)
    many = f"has {distinct:,} different values in {len(present):,} cells"
    alone = "is different in nearly every row"
    why = alone if distinct >= _MOSTLY * len(present) else many
    return Column(name, UNUSED, _why_no_number(table, name) or why)


def _words_for_missing(
    column: pd.Series, odd: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Return which of the cells that could not be read stand for a missing value."""
    cells = texts(column)
    known = odd & cells.str.casefold().isin(_UNKNOWN).to_numpy(dtype=bool)
    others = odd & ~known & ~cells.str.contains(r"\d").to_numpy(dtype=bool)
    few = cells[others].nunique() <= _FEW_WORDS and odd.mean() <= _MOST_WORDS
    # Beside few different numbers, a word is one category among others.
    many = len(np.unique(values[~np.isnan(values)])) > _MANY
    return known | others if few and many else known


def _identifies(table: Table, name: str, values: np.ndarray) -> tuple[str, str] | None:
    """Return kind and reason of whole numbers that name rows or groups, else None."""
    present = values[~np.isnan(values)]
    if (present % 1 != 0).any() or present.min() < 0:
        return None
    n, distinct = len(present), len(np.unique(present))
    # Compared with the row numbers, so that a random sample is recognized too.
    words = {word.lower() for word in _NAME_WORDS.findall(name)}
    if words & _YEAR_NAMES:
        return None
    counts = np.array_equal(np.diff(values), np.diff(table.rows))
    if counts and len(values) > _MANY:
        return UNUSED, "only numbers the rows"
    is_id = bool(words & _CODE_NAMES) or re.fullmatch(_ID_ENDING, name.lower())
    if is_id and 2 < distinct <= 0.5 * n:
        return CATEGORY, f"codes, by its name; {_different(distinct)}"
    if is_id and distinct > _MANY:
        return UNUSED, "identifies rows, by its name"
    if distinct == n >= _FEWEST_IDS and (why := numbering(present)):
        return UNUSED, why
    size = n // distinct
    if distinct > _MANY and size > 1 and n == len(values) == size * distinct:
        blocks = values.reshape(distinct, size)
        if (blocks == blocks[:, :1]).all():
            return UNUSED, f"numbers groups of {size} rows"
    return None


def _different(n: int) -> str:
    most = f", of which {MOST_CATEGORIES - 1} are told apart"
    return f"{n:,} different" + (most if n > MOST_CATEGORIES else "")


def _range(column: pd.Series, found: Numbers) -> str:
    cells, values = texts(column), found.values
    low, high = cells.iloc[np.nanargmin(values)], cells.iloc[np.nanargmax(values)]
    n_missing = int(is_missing(column).sum())
    return without_many_digits(f"{low} to {high}") + (
        f", {n_missing:,} missing" if n_missing else ""
    )


def _left_out(table: Table, name: str, rows: np.ndarray) -> str:
    if not len(rows):
        return ""
    words = texts(table.frame[name]).iloc[rows].value_counts()
    if len(words) <= _FEW_WORDS and len(rows) > _FEW_WORDS:
        said = listed([f"{word!r} in {count:,} rows" for word, count in words.items()])
    else:
        said = f"{table.where(rows)} (such as {words.index[0]!r})"
    return f"; taken as missing: {said}"


def _why_no_number(table: Table, name: str) -> str:
    """Return why a column with many numbers is none of numbers."""
    column = table.frame[name]
    values = numbers(column, table.file.decimal).values
    odd = np.flatnonzero(np.isnan(values) & ~is_missing(column))
    if len(odd) > 0.5 * len(column) or has_codes(column):
        return ""
    cell = _cell(table, name, odd[0])
    return f"is not a number in {len(odd):,} rows, such as {cell}"


def _cell(table: Table, name: str, row: int) -> str:
    return f"{texts(table.frame[name]).iloc[row]!r} in {table.where([row])}"
