"""Tables in files: which rows are read, and where they are in the file."""

import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from ..exceptions import TableError
from ._csv import CSVFile
from ._parquet import ParquetFile
from ._picture_folder import PictureFolder

MOST_ROWS = 100_000
"""Larger tables are read only with --sample."""

LEAST_ROWS = 20

TableFile = CSVFile | ParquetFile | PictureFolder


@dataclass(frozen=True)
class Table:
    """A table, or some of its rows.

    Attributes
    ----------
    file : CSVFile, ParquetFile or PictureFolder
        The file, or the folder of pictures.
    frame : DataFrame
        The rows; the cells of a CSV file as text.
    rows : ndarray of shape (n_rows,), int
        Their numbers in the file, from 0.
    places : ndarray of shape (n_rows,)
        The lines or rows of the file, from 1, where a user finds them; of pictures in
        a folder their paths.
    n_total : int
        How many rows the file has.
    n_drawn : int
        How many of them were read; the others of these have no target.
    """

    file: TableFile
    frame: pd.DataFrame
    rows: np.ndarray
    places: np.ndarray
    n_total: int
    n_drawn: int

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def name(self) -> str:
        """The name of the file."""
        # "." and the like have no name.
        return self.file.path.name or self.file.path.resolve().name

    def take(self, rows: np.ndarray) -> "Table":
        """Return some of the rows, by their places in the frame."""
        frame = self.frame.iloc[rows].reset_index(drop=True)
        return replace(
            self, frame=frame, rows=self.rows[rows], places=self.places[rows]
        )

    def where(self, rows: Iterable[int]) -> str:
        """Return where some rows are in the file, for a message."""
        places = [str(self.places[row]) for row in rows]
        word = self.file.one_row + ("s" if len(places) > 1 else "")
        return f"{word} {listed(places)}"


def open_table(path: Path, encoding: str = "utf-8") -> TableFile:
    """Open a table; the suffix of its name gives the format."""
    if is_folder(path):
        return PictureFolder(path)
    form = table_format(path)
    file = CSVFile(path, encoding) if form == "csv" else ParquetFile(path)
    twice = [str(name) for name, n in Counter(file.columns).items() if n > 1]
    if twice:
        raise TableError(
            f"The columns of {path.name!r} must have different names, but "
            f"{quoted(twice)} {'appear' if len(twice) > 1 else 'appears'} more than "
            "once in its first line: change one, or, if that line is a row, add a line "
            "with the names above it."
        )
    return file


def is_folder(path: Path) -> bool:
    """Return whether a table is a folder; refuse what is neither that nor a file."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TableError(f"There is no file {str(path)!r}.") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise TableError(f"The file {str(path)!r} cannot be read: {why}.") from error
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise TableError(
            f"{str(path)!r} must be a file, which is read more than once, and no pipe "
            "or device: save the table first."
        )
    return stat.S_ISDIR(mode)


def table_format(path: Path) -> str:
    """Return the format that the suffix of a name stands for."""
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".csv", ".tsv", ".txt")):
        return "csv"
    if path.suffix.lower() in (".parquet", ".pq"):
        return "parquet"
    if path.suffix.lower() in (".xlsx", ".xls", ".xlsm", ".ods"):
        raise TableError(
            f"{path.name!r} is a workbook: save the sheet as CSV in UTF-8 (in Excel: "
            "File, Save As), and pass that file."
        )
    raise TableError(
        f"A table must be CSV (.csv, .tsv, .txt, each also with .gz) or Parquet "
        f"(.parquet), got {path.name!r}."
    )


def read_table(
    path: Path, *, encoding: str = "utf-8", sample: int | None = None, seed: int = 0
) -> Table:
    """Read a table, or a random sample of its rows.

    Rows are counted first: a table that is too large must not fill the memory.
    """
    file = open_table(path, encoding)
    n_total = file.count()
    if n_total == 0:
        raise TableError(f"The file {str(path)!r} has a header, but no rows.")
    if sample is None and n_total > MOST_ROWS:
        raise TableError(
            f"{path.name!r} has {n_total:,} {file.rows}, but more than {MOST_ROWS:,} "
            f"are read only on request: --sample {MOST_ROWS} draws a random sample, "
            f"--sample {n_total} takes all."
        )
    rows, chosen = np.arange(n_total), None
    if sample is not None and sample < n_total:
        rows = np.sort(np.random.RandomState(seed).permutation(n_total)[:sample])
        chosen = set(rows.tolist())
    frame, places = file.read(chosen)
    return Table(file, frame, rows, places, n_total, len(frame))


def check_column(name: str, columns: Sequence[str], table: str) -> None:
    """Refuse a column that is not in the table, and suggest the nearest."""
    if name in columns:
        return
    near = get_close_matches(name, columns, n=1, cutoff=0.5)
    # Names that differ in capitals only may be too far apart for the matcher.
    folded = {str(other).casefold(): other for other in columns}
    near = [folded[name.casefold()]] if name.casefold() in folded else near
    if near:
        hint = f"Did you mean {near[0]!r}?"
        if any(_is_number(column) for column in columns):
            hint += " Or, if its first line is a row, add a line with the names."
    elif len(columns) == 1:
        hint = (
            f"Its only column is {columns[0]!r}: separate the cells by commas, "
            "semicolons, tabs or bars."
        )
    elif any(_is_number(column) for column in columns):
        hint = (
            f"Its first line must name the columns, but it is {quoted(columns)}: add a "
            "line with their names."
        )
    else:
        hint = f"It has {quoted(columns)}."
    raise TableError(f"{table!r} has no column {name!r}. {hint}")


def _is_number(text: object) -> bool:
    with suppress(ValueError):
        float(str(text))
        return True
    return False


def quoted(names: Iterable[object]) -> str:
    """Return the first names, in quotation marks."""
    return listed([repr(str(name)) for name in names])


MOST_LISTED = 8


def listed(words: Sequence[str], most: int = MOST_LISTED) -> str:
    """Return the first words, joined as in a sentence."""
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1:,} more"]
    if len(words) < 2:
        return "".join(words)
    return ", ".join(words[:-1]) + " and " + words[-1]
