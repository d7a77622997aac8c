"""Files of decisions, read as tables of text."""

import csv
import io
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pandas as pd

from .._long_fields import long_fields
from .._values import check_path
from ..exceptions import DecisionsError

COLUMNS = ("sample", "decision", "label", "fingerprint")
"""The columns of a table of decisions."""

CHECK = "check"
"""The column of a file by which rows that are missing or changed are noticed."""

_FORMAT, _VERSION = "skinfluence-decisions", 2
_FIRST_CHECKED = 2  # the first version whose rows have a check

# More is no file of decisions, but a device, for instance.
_MOST_BYTES = 2**28

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
    checks : sequence of str or None
        The check of each row; None where there is none, as in a table that was not read
        from a file, or in a file of an earlier version.
    """

    rows: pd.DataFrame
    where: str
    literal: bool = False
    checks: Sequence[str] | None = None

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
    twice = [name for name in (*COLUMNS, CHECK) if list(table.rows).count(name) > 1]
    if twice:
        raise DecisionsError(
            f"The decisions in {table.where} must have each column once, got "
            f"{', '.join(twice)} more than once."
        )
    if table.rows.empty:
        raise DecisionsError(
            f"There must be at least one decision in {table.where}, got none. Mark "
            "samples in the report before saving."
        )
    return table


def text_of(value: Any) -> str:
    """Return the text of a cell, empty if it is missing."""
    # Of a list, which JSON may hold, isna tells of each item.
    return "" if pd.api.types.is_scalar(value) and pd.isna(value) else str(value)


def _table(source: Source) -> DecisionTable:
    if isinstance(source, pd.DataFrame):
        return DecisionTable(source, "the table")
    path = check_path("decisions", source, "CSV or JSON file", ", or a DataFrame")
    where = repr(os.fspath(source))
    text = _text(path, where)
    literal = text.lstrip().startswith(("{", "["))
    try:
        rows = _from_json(text) if literal else _from_csv(text)
        checks = _checks(rows)
    except (
        *(ValueError, KeyError, TypeError, AttributeError, RecursionError),
        csv.Error,
    ) as error:
        raise DecisionsError(
            f"The file of decisions {where} cannot be read: {error}. Save it from the "
            "report again, as CSV or JSON."
        ) from error
    return DecisionTable(rows, where, literal, checks)


def _checks(rows: pd.DataFrame) -> list[str] | None:
    # Empty ones are no less a sign of damage: a file may be cut before the first.
    if CHECK not in rows:
        return None
    return [text_of(value).strip() for value in rows[CHECK]]


def _text(path: Path, where: str) -> str:
    try:
        # A pipe without a writer would be waited for without end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise DecisionsError(
                f"The file of decisions {where} must be a file, and not a folder, pipe "
                "or device. Pass the file that the report saved."
            )
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        # Spreadsheets write a byte order mark.
        text = data.decode("utf-8-sig")
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
    if len(data) > _MOST_BYTES:
        raise DecisionsError(
            f"The file of decisions {where} must have at most {_MOST_BYTES:,} bytes. "
            "Pass the file that the report saved."
        )
    if not text.strip():
        raise DecisionsError(
            f"The file of decisions {where} is empty. Save it from the report again."
        )
    return text


def _from_json(text: str) -> pd.DataFrame:
    content = json.loads(text, object_pairs_hook=_each_once)
    # Neither is needed in a file that was written by hand.
    kind, version = content.get("format", _FORMAT), content.get("version", 1)
    if kind != _FORMAT:
        raise ValueError(f"its format is {kind!r} and not {_FORMAT!r}")
    if type(version) is not int or not 1 <= version <= _VERSION:
        raise ValueError(
            f"its version must be from 1 to {_VERSION}, got {version!r}: if a newer "
            "skinfluence wrote it, use that"
        )
    names = [*COLUMNS[:3], CHECK]
    rows = pd.DataFrame(content["decisions"], columns=names, dtype=object)
    if version < _FIRST_CHECKED and rows[CHECK].isna().all():
        rows = rows.drop(columns=CHECK)
    return rows.assign(fingerprint=content["fingerprint"])


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return what JSON has in braces: of equal names it would take the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a name is repeated among {[name for name, _ in pairs]}")
    return found


def _from_csv(text: str) -> pd.DataFrame:
    header = text.splitlines()[0]
    # Spreadsheets save with the separator of their locale.
    separator = next((mark for mark in ",;\t" if mark in header), ",")
    with long_fields():
        # Strict: a quotation mark without another would take all rows after it.
        lines = csv.reader(
            io.StringIO(text, newline=""), delimiter=separator, strict=True
        )
        names, *rows = [line for line in lines if any(line)]
    if any(len(row) != len(names) for row in rows):
        raise ValueError("its lines have different numbers of fields")
    return pd.DataFrame(rows, columns=[name.strip() for name in names], dtype=object)
