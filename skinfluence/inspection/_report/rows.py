"""Samples as rows of a table."""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from ..._values import check_list
from .unusual import Column
from .values import as_it_stands, cut, longest_text

# Values of a row, at least, and of all rows together.
_FEWEST_VALUES, _ALL_VALUES = 12, 100_000

UNUSED = "unused"
_LATE_KINDS = ("date", "id", UNUSED)

# The order on a card: texts, since a decision needs them read; then the most unusual
# values; last what is rare by its nature, such as dates, and so says nothing.
_TO_READ, _BY_STRENGTH, _LATE = range(3)

Columns: TypeAlias = Sequence[tuple[str, str, str]] | None
"""Name, kind and a reason for each column that the model could use."""

Line = list[Any]
"""Name, value, why it is unusual, and how much; of a text to be read the length too."""


def checked_columns(columns: Columns) -> Columns:
    """Return columns as a list, or raise an error."""
    if columns is None:
        return None
    told = check_list("columns", columns, "(name, kind, reason)")
    for each in told:
        if not (isinstance(each, (tuple, list)) and len(each) == 3):
            raise TypeError(
                f"`columns` must hold (name, kind, reason) each, got {each!r:.200}."
            )
    return told


class Rows:
    """Samples as rows of a table, the most unusual values first."""

    def __init__(self, table: pd.DataFrame, columns: Columns = None) -> None:
        self.table = table
        kinds = {str(name): kind for name, kind, _ in columns or ()}
        self._kinds = None if columns is None else kinds

    def __len__(self) -> int:
        return len(self.table)

    def key(self, row: int) -> Hashable:
        """Return what the model may know of a row."""
        used = [k for k in range(self.table.shape[1]) if self._kind(k) != UNUSED]
        return tuple(repr(self.table.iat[row, k]) for k in used)

    def show(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """Return a line for each value, the most unusual first."""
        fields = [self._field(k) for k in range(self.table.shape[1])]
        n_texts = sum(field.place == _TO_READ for field in fields)
        longest = longest_text(len(rows) * n_texts)
        lines = [field.lines(rows, longest) for field in fields]
        most = max(_FEWEST_VALUES, _ALL_VALUES // max(len(rows), 1))
        shown = []
        for number, row in enumerate(rows):
            order = np.lexsort(
                [
                    [-line[number][3] for line in lines],
                    [field.place for field in fields],
                ]
            )
            table = [lines[k][number] for k in order[:most]]
            more = len(order) - len(table)
            shown.append({"table": table, "more": more, **named(self.table.index, row)})
        return shown

    def _field(self, k: int) -> "_Field":
        name, values = cut(self.table.columns[k]), self.table.iloc[:, k]
        kind, column = self._kind(k), Column(values)
        if kind in _LATE_KINDS or pd.api.types.is_datetime64_any_dtype(values):
            why = "not used" if kind == UNUSED else ""
            return _Field(name, values, column, _LATE, why)
        to_read = column.is_text if kind is None else kind == "text"
        return _Field(name, values, column, _TO_READ if to_read else _BY_STRENGTH)

    def _kind(self, k: int) -> str | None:
        """Return a column's kind; None if kinds are unknown."""
        if self._kinds is None:
            return None
        return self._kinds.get(str(self.table.columns[k]), UNUSED)


def row_name(index: pd.Index | None, row: int) -> str:
    """Return a row's label, or its number where it has none."""
    if index is None:
        return f"row {row}"
    prefix = "row " if pd.api.types.is_integer_dtype(index) else ""
    return prefix + cut(index[row])


def named(index: pd.Index | None, row: int) -> dict[str, str]:
    """Return a row's label for a page, unless the index is the default one."""
    if index is None or isinstance(index, pd.RangeIndex):
        return {}
    return {"name": row_name(index, row)}


class _Field(NamedTuple):
    """A column, and its place on the cards."""

    name: str
    values: pd.Series
    column: Column
    place: int
    why: str = ""

    def lines(self, rows: np.ndarray, longest: int) -> list[Line]:
        """Return the line of each row."""
        values = self.values.iloc[rows]
        texts = [as_it_stands(value) for value in values]
        if self.place == _TO_READ:
            return [[self.name, t[:longest], "", 0.0, len(t)] for t in texts]
        judged = [(self.why, 0.0)] * len(rows)
        if self.place == _BY_STRENGTH:
            judged = self.column.judge(values)
        return [
            [self.name, cut(text, longest), why, round(strength, 2)]
            for text, (why, strength) in zip(texts, judged, strict=True)
        ]
