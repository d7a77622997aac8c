"""Files of decisions, read as tables of text."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pandas as pd

from ..exceptions import DecisionsError

COLUMNS = ("sample", "decision", "label", "fingerprint")
"""The columns of a table of decisions."""

# Labels and remarks may be long texts: the limit of csv is 131,072 characters.
_LONGEST_FIELD = 2**27


Source: TypeAlias = str | os.PathLike[str] | pd.DataFrame
"""Where decisions are: a file, or the table itself."""


class DecisionTable(NamedTuple):
    """Decisions, unchecked.

    Attributes
    ----------
    rows : DataFrame
        One row or more, with at least the columns.
    where : str
        Its name in error messages.
    literal : bool
        Whether labels are verbatim. Otherwise one that a spreadsheet would run as a
        formula is preceded by an apostrophe.
    """

    rows: pd.DataFrame
    where: str
    literal: bool = False

    def label(self, row: int) -> list[str]:
        """Return the possible readings of a row's label, the likeliest first."""
        label = text_of(self.rows["label"].iloc[row])
        quoted = label.startswith("'") and not self.literal
        return [label[1:], label] if quoted else [label]


def read_table(source: Source) -> DecisionTable:
    """Return the decisions in a table or a file, with columns and rows checked."""
    table = _table(source)
    missing = [name for name in COLUMNS if name not in table.rows]
    if missing:
        raise DecisionsError(
            f"The decisions in {table.where} must have the columns "
            f"{', '.join(COLUMNS)}, but there is no {', '.join(missing)}."
        )
    if table.rows.empty:
        raise DecisionsError(
            f"There must be at least one decision in {table.where}, got none. Mark "
            "samples in the report before saving."
        )
    return table


def text_of(value: Any) -> str:
    """Return the text of a cell, empty if it is missing."""
    return "" if pd.isna(value) else str(value)


def _table(source: Source) -> DecisionTable:
    if isinstance(source, pd.DataFrame):
        return DecisionTable(source, "the table")
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            "`decisions` must be the path of a CSV or JSON file or a DataFrame, got "
            f"{type(source).__name__}."
        )
    where = repr(os.fspath(source))
    text = _text(Path(source), where)
    literal = text.lstrip().startswith(("{", "["))
    try:
        rows = _from_json(text) if literal else _from_csv(text)
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise DecisionsError(
            f"The file of decisions {where} cannot be read: {error}. Save it from the "
            "report again, as CSV or JSON."
        ) from error
    return DecisionTable(rows, where, literal)


def _text(path: Path, where: str) -> str:
    try:
        # Spreadsheets write a byte order mark.
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DecisionsError(
            f"The file of decisions {where} cannot be read: "
            f"{error.strerror or error}. Pass the file that the report saved."
        ) from error
    except UnicodeDecodeError as error:
        raise DecisionsError(
            f"The file of decisions {where} must be UTF-8 text, but byte "
            f"{error.start} is not. Save it as 'CSV UTF-8'."
        ) from error
    if not text.strip():
        raise DecisionsError(
            f"The file of decisions {where} is empty. Save it from the report again."
        )
    return text


def _from_json(text: str) -> pd.DataFrame:
    content = json.loads(text)
    rows = pd.DataFrame(content["decisions"], columns=list(COLUMNS[:3]), dtype=object)
    return rows.assign(fingerprint=content["fingerprint"])


def _from_csv(text: str) -> pd.DataFrame:
    header = text.splitlines()[0]
    # Spreadsheets save with the separator of their locale.
    separator = next((mark for mark in ",;\t" if mark in header), ",")
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        names, *rows = [line for line in lines if any(line)]
    finally:
        csv.field_size_limit(before)
    if any(len(row) != len(names) for row in rows):
        raise ValueError("its lines have different numbers of fields")
    return pd.DataFrame(rows, columns=[name.strip() for name in names], dtype=object)
