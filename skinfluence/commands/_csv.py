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

from .._outputs import new_output
from ..exceptions import TableError
from ._numbers import decimal_mark, written_like

DELIMITERS = ",;\t|"
_BOM = b"\xef\xbb\xbf"


class Record(NamedTuple):
    """A row: its cells, its text in the file, and the line on which it begins."""

    cells: list[str]
    text: str
    line: int


class CSVFile:
    """A text table with a header, in which its delimiter is the most frequent one."""

    one_row = "line"

    def __init__(self, path: Path, encoding: str = "utf-8") -> None:
        self.path = path
        self.encoding = encoding
        if encoding.lower().replace("_", "-") in ("utf-8", "utf8") and self._has_bom():
            self.encoding = "utf-8-sig"
        with self._readable(), self._open() as file:
            first = file.readline()
        self.delimiter = max(DELIMITERS, key=lambda mark: len(_cells(first, mark)))
        # Until the cells are read, which may show another decimal mark.
        self.decimal = "," if self.delimiter == ";" else "."
        header = next(self._records(), None)
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
                if number in removed:
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
            if len(record.cells) != n_cells:
                raise TableError(
                    f"Line {record.line} of {self.path.name!r} has "
                    f"{len(record.cells)} cells, but the header has {n_cells}: put "
                    "cells that hold the delimiter "
                    f"{self.delimiter!r} in quotation marks."
                )
            yield record

    def _records(self) -> Iterator[Record]:
        """Yield the header, the rows and the blank lines, which have no cells."""
        # csv does not keep the text of a row, which may span several lines.
        taken: list[str] = []

        def lines(file: IO[str]) -> Iterator[str]:
            for line in file:
                taken.append(line)
                yield line

        with self._readable(), self._open() as file:
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

    def _has_bom(self) -> bool:
        with self._readable(), _binary(self.path) as file:
            return file.read(len(_BOM)) == _BOM

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
