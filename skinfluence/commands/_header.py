"""Whether the first line of a table names the columns, or is a row."""

import numpy as np
import pandas as pd

from ..exceptions import TableError
from ._cells import is_missing, texts
from ._csv import CSVFile
from ._numbers import numbers, plain_numbers
from ._tables import Table, quoted

_MOSTLY = 0.95  # share of numbers among the cells of a column of numbers
_ENOUGH = 1_000  # rows that are looked at


def check_header(table: Table, target: str) -> None:
    """Refuse a CSV file whose first line is a row like the others.

    It would be lost, and the columns have no names.
    """
    if isinstance(table.file, CSVFile) and _is_row(table, target):
        raise TableError(
            f"The first line of {table.name!r} must name the columns, but "
            f"{quoted(table.file.columns)} look like a row: add a line with their "
            "names above it."
        )


def _is_row(table: Table, target: str) -> bool:
    """Return whether the names of the columns are like the cells below them.

    Columns may have numbers for names: those that pandas counts, years, wavelengths.
    They rise or fall.
    """
    frame, decimal = table.frame.head(_ENOUGH), table.file.decimal
    names = pd.Series(list(frame.columns), dtype=object)
    of_numbers = np.array([_is_of_numbers(frame[k], decimal) for k in names])
    if not of_numbers.any():
        return all(name in set(texts(frame[name])) for name in names)
    named = plain_numbers(names[of_numbers], decimal)
    if np.isnan(named).any():
        return False
    steps = np.diff(named)
    if not ((steps > 0).all() or (steps < 0).all()):
        return True
    counted = named[0] in (0, 1) and (steps == 1).all()
    return not counted and target in set(texts(frame[target]))


def _is_of_numbers(cells: pd.Series, decimal: str) -> bool:
    present = ~is_missing(cells)
    numeric = ~np.isnan(numbers(cells, decimal).values)
    return bool(numeric.sum() > _MOSTLY * present.sum())
