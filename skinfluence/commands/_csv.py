"""Tables as CSV: read as text, and copied verbatim."""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
import pandas as pd

from .._long_fields import long_fields
from .._outputs import new_output
from ..exceptions import TableError
from ._numbers import decimal_mark, written_like

DELIMITERS = ",;\t|"

_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_OTHERS = {
    b"PK\3\4": "an Excel workbook: save its sheet as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save its sheet as CSV in UTF-8",
    b"PAR1": "a Parquet file: give it a name that ends in .parquet",
    b"\x1f\x8b": "compressed: give it a name that ends in .gz",
    b"%PDF": "a PDF: export the table as CSV",
}
"""The first bytes of files that are no tables in text, whatever they are called."""


class Record(NamedTuple):
    """A row: its cells, its text in the file, and the line on which it begins."""

    cells: list[str]
    text: str
    line: int


class CSVFile:
    """A text table with a header, in which its delimiter is the most frequent one."""

    one_row, rows, task = "line", "rows", "auto"

    def __init__(self, path: Path, encoding: str = "utf-8") -> None:
        self.path = path
        self.encoding = encoding
        self._check_start()
        self._separator, first = self._first_line()
        self.delimiter = self._separator or max(
            DELIMITERS, key=lambda mark: len(_cells(first, mark))
        )
        self._n_cells = len(_cells(first, self.delimiter))
        # Until the cells are read, which may show another decimal mark.
        self.decimal = "," if self.delimiter == ";" else "."
        header = next((each for each in self._records() if each.cells), None)
        if header is None:
            raise TableError(f"The file {str(path)!r} is empty.")
        # The column of row numbers often has no name.
        self.columns = [
            name if name.strip() else f"column {place}"
            for place, name in enumerate(header.cells, start=1)
        ]

    def count(self) -> int:
        """Return the number of rows, without the header."""
        return sum(1 for record in self._records() if record.cells) - 1

    def read(self, chosen: Collection[int] | None) -> tuple[pd.DataFrame, np.ndarray]:
        """Return the cells of all or some rows as text, and the line of each row."""
        rows, lines = [], []
        for number, record in enumerate(self._rows()):
            if chosen is None or number in chosen:
                rows.append(record.cells)
                lines.append(record.line)
        frame = pd.DataFrame(rows, columns=self.columns, dtype=object)
        self.decimal = decimal_mark(frame, self.decimal)
        return frame, np.array(lines, dtype=np.intp)

    def copy(
        self, path: Path, removed: Collection[int], labels: Mapping[int, Any], name: str
    ) -> None:
        """Write the file again without some rows, and with other labels in some.

        All else is copied verbatim: quotes, line ends and blank lines too.
        """
        # The header comes first, as number -1; blank lines have no number of their own.
        column, number = self.columns.index(name), -1
        with new_output(path) as raw, _text(raw, path, self.encoding) as file:
            for record in self._records():
                if record.cells and number in removed:
                    text = ""
                elif record.cells and number in labels:
                    text = self._relabelled(record, column, labels[number])
                else:
                    text = record.text
                file.write(text)
                number += bool(record.cells)

    def _rows(self) -> Iterator[Record]:
        records = (record for record in self._records() if record.cells)
        next(records)
        n_cells = len(self.columns)
        for record in records:
            if n_cells == 1 < len(record.cells):
                raise TableError(
                    f"The first line of {self.path.name!r} must hold the names of the "
                    f"columns, but it is {self.columns[0]!r}, and line {record.line} "
                    f"has {len(record.cells)} cells: delete the lines above the names."
                )
            if len(record.cells) != n_cells:
                raise TableError(
                    f"Line {record.line} of {self.path.name!r} has "
                    f"{len(record.cells)} cells, but the header has {n_cells}: put "
                    "cells that hold the delimiter "
                    f"{self.delimiter!r} in quotation marks."
                )
            yield record

    def _records(self) -> Iterator[Record]:
        """Yield the header, the rows, and other lines, which have no cells.

        Those are blank, comments that begin with "#", or Excel's "sep=;" at the top.
        """
        # csv does not keep the text of a row, which may span several lines.
        taken: list[str] = []

        def lines(file: IO[str]) -> Iterator[str]:
            for line in file:
                taken.append(line)
                # Between rows only: within quotes a line may begin with anything.
                yield "\n" if len(taken) == 1 and self._is_aside(line) else line

        with long_fields(), self._readable(), self._open() as file:
            reader = csv.reader(lines(file), delimiter=self.delimiter, strict=True)
            line = 1
            try:
                for cells in reader:
                    yield Record(cells, "".join(taken), line)
                    line += len(taken)
                    taken.clear()
            except csv.Error as error:
                raise TableError(
                    f"Line {line} of {self.path.name!r} is not a row of a CSV file "
                    f"({error})."
                ) from error

    def _relabelled(self, record: Record, column: int, value: Any) -> str:
        """Return the text of a row with another label."""
        label = str(value)
        if isinstance(value, float):
            label = written_like(record.cells[column], value, self.decimal)
        # By position: written anew from its cells, the row would lose its quotes.
        mark = re.escape(self.delimiter)
        pattern = rf'("(?:[^"]|"")*"|[^{mark}\r\n]*)(?:{mark}|\r\n|\r|\n|$)'
        spans = [match.span(1) for match in re.finditer(pattern, record.text)]
        start, end = spans[column]
        if record.text[start] == '"' or _cells(label, self.delimiter) != [label]:
            label = '"' + label.replace('"', '""') + '"'
        return record.text[:start] + label + record.text[end:]

    def _check_start(self) -> None:
        """Take the encoding from a byte order mark; refuse what is no text."""
        with self._readable(), _binary(self.path) as file:
            start = file.read(4)
        for magic, what in _OTHERS.items():
            if start.startswith(magic):
                raise TableError(f"The file {str(self.path)!r} is {what}.")
        if self.encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
            marks = (name for bom, name in _BOMS.items() if start.startswith(bom))
            self.encoding = next(marks, self.encoding)

    def _first_line(self) -> tuple[str, str]:
        """Return the mark that "sep=;" names, and the first line of the table."""
        separator = ""
        with self._readable(), self._open() as file:
            for number, line in enumerate(file):
                found = re.fullmatch("sep=(.)", line.rstrip("\r\n"), re.IGNORECASE)
                if found and number == 0:
                    separator = found[1]
                # A header may begin with "#", but a row comes after it.
                elif line.strip() and not line.startswith("#"):
                    return separator, line
        return separator, ""

    def _is_aside(self, line: str) -> bool:
        """Return whether a line is neither the header nor a row."""
        if self._separator and line.rstrip("\r\n").lower() == f"sep={self._separator}":
            return True
        comment = line.startswith("#")
        return comment and len(_cells(line, self.delimiter)) != self._n_cells

    def _open(self) -> IO[str]:
        return io.TextIOWrapper(_binary(self.path), encoding=self.encoding, newline="")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        name = str(self.path)
        try:
            yield
        except LookupError as error:
            raise TableError(f"There is no encoding {self.encoding!r}.") from error
        except UnicodeError as error:
            raise TableError(
                f"The file {name!r} is not text in {self.encoding}: save it as CSV "
                "in UTF-8, or name its encoding with --encoding, such as latin-1."
            ) from error
        except (OSError, EOFError, zlib.error) as error:
            why = getattr(error, "strerror", None) or error
            raise TableError(f"The file {name!r} cannot be read: {why}.") from error


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _is_zipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _binary(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path) if _is_zipped(path) else path.open("rb"))


@contextmanager
def _text(raw: IO[bytes], path: Path, encoding: str) -> Iterator[IO[str]]:
    """Yield a text file that writes to a binary one, compressed if so named."""
    # With timestamp 0: equal tables give equal files.
    binary = gzip.GzipFile(path.stem, "wb", 6, raw, 0) if _is_zipped(path) else raw
    file = io.TextIOWrapper(cast(IO[bytes], binary), encoding=encoding, newline="")
    try:
        yield file
    finally:
        # Not closed: the binary file is the caller's, who still flushes it to the disk.
        file.detach()
        if binary is not raw:
            binary.close()
