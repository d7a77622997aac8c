"""Data of any form as a table, and what makes two of its rows the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

_MISSING = np.uint64(0x9E3779B97F4A7C15)
_LONG = 2.0**53  # beyond, float64 does not tell all integers apart


@dataclass(frozen=True)
class Table:
    """A table, its columns by name.

    Parameters
    ----------
    frame : DataFrame
        The cells; names are texts, and no two are the same.
    one_unit : bool
        Whether all cells are numbers in the same unit, such as pixels.
    """

    frame: pd.DataFrame
    one_unit: bool = False

    def __len__(self) -> int:
        return len(self.frame)

    def above(self, other: "Table") -> "Table":
        """Return both tables as one; numbers in the coarser of two types."""
        pairs = {n: _alike(self.frame[n], other.frame[n]) for n in self.names}
        return replace(
            self,
            frame=pd.DataFrame(
                {n: pd.concat(pair, ignore_index=True) for n, pair in pairs.items()}
            ),
        )

    def without(self, names: Sequence[str]) -> "Table":
        """Return the table without some columns, unless none would be left."""
        left = [name for name in self.names if name not in names]
        return replace(self, frame=self.frame[left]) if names and left else self

    @property
    def noun(self) -> str:
        """What one of the rows is called in a sentence."""
        return "image" if self.one_unit else "row"

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.frame.columns)

    @cached_property
    def numbers(self) -> dict[str, np.ndarray]:
        """The columns of numbers, truth values and dates; NaN is missing."""
        found = {}
        for name in self.names:
            values = as_numbers(self.frame[name])
            if values is not None:
                found[name] = values
        return found

    @cached_property
    def others(self) -> list[str]:
        """The names of the columns that hold anything else."""
        return [name for name in self.names if name not in self.numbers]

    @cached_property
    def missing(self) -> dict[str, np.ndarray]:
        """Which cells of each column are missing."""
        return {
            name: np.isnan(self.numbers[name])
            if name in self.numbers
            else self.frame[name].isna().to_numpy(dtype=bool)
            for name in self.names
        }

    @cached_property
    def cells(self) -> np.ndarray:
        """A digest of each cell, of shape (n_rows, n_columns), uint64.

        Each name has an odd factor of its own, so that the sum over a row tells its
        cells and their columns. An overflow is a remainder, as it should be.
        """
        return np.stack(list(self.digests_by_column()), axis=1)

    @cached_property
    def rows(self) -> np.ndarray:
        """A digest of each row, uint64: equal where all cells are."""
        # A column at a time: pictures have thousands, and as many digests to keep.
        total = np.zeros(len(self), dtype=np.uint64)
        for digests in self.digests_by_column():
            total += digests
        return total

    def digests_by_column(self) -> Iterator[np.ndarray]:
        """Yield the digests of each column, times the factor of its name."""
        names = pd.util.hash_array(np.array(self.names, dtype=object))
        for name, factor in zip(self.names, names | np.uint64(1), strict=True):
            yield self.digests(name) * factor

    def digests(self, name: str) -> np.ndarray:
        """Return a digest of each cell of a column, uint64."""
        cells = self.frame[name]
        if name not in self.numbers:
            found = pd.util.hash_array(_texts(cells))
        else:
            values = self.numbers[name]
            # 0.0 and -0.0 are equal, but not to a digest of their bits.
            found = pd.util.hash_array(values + 0.0)
            long = np.abs(values) >= _LONG
            if long.any() and pd.api.types.is_integer_dtype(cells):
                found[long] = pd.util.hash_array(_texts(cells[long]))
        return np.where(self.missing[name], _MISSING, found)


def _alike(*columns: pd.Series) -> tuple[pd.Series, ...]:
    """Return the same column of two tables with cells that can be compared."""
    kinds = {cells.dtype for cells in columns}
    single, double = np.dtype(np.float32), np.dtype(np.float64)
    if kinds == {single, double}:
        return tuple(cells.astype(single) for cells in columns)
    if np.dtype(bool) in kinds and all(map(pd.api.types.is_numeric_dtype, kinds)):
        return tuple(cells.astype(double) for cells in columns)
    return columns


def is_dated(cells: pd.Series) -> bool:
    """Return whether cells are dates or periods."""
    dated = pd.api.types.is_datetime64_any_dtype(cells)
    return bool(dated or isinstance(cells.dtype, pd.PeriodDtype))


def as_numbers(cells: pd.Series) -> np.ndarray | None:
    """Return cells as float64 if they are numbers, truth values or dates, else None."""
    if isinstance(cells.dtype, pd.PeriodDtype):
        cells = cells.dt.to_timestamp()
    if pd.api.types.is_datetime64_any_dtype(cells):
        days = cells - pd.Timestamp(0, tz=cells.dt.tz)
        return np.asarray(days / pd.Timedelta(days=1), dtype=np.float64)
    if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_complex_dtype(
        cells
    ):
        return np.asarray(cells.to_numpy(dtype=np.float64, na_value=np.nan))
    return None


def _texts(cells: pd.Series) -> np.ndarray:
    # A digest is of UTF-8, which half of a pair of surrogates does not have.
    plain = (str(cell).encode("utf-8", "backslashreplace") for cell in cells)
    return np.array([text.decode() for text in plain], dtype=object)


def normalized(cells: pd.Series) -> pd.Series:
    """Return texts without their capitals, and with single spaces."""
    texts = cells.astype(object).where(cells.notna(), "").map(str)
    return texts.str.casefold().str.split().str.join(" ")


def read(name: str, data: Any, names: Sequence[str] | None = None) -> Table:
    """Return data as a table.

    Parameters
    ----------
    name : str
        The parameter, for messages.
    data : DataFrame, array-like, sparse matrix or sequence of str
        The samples; those with more than one axis become a row of numbers each.
    names : sequence of str or None
        Names of the columns of what has none.
    """
    one_unit = False
    if isinstance(data, pd.DataFrame):
        frame = data.reset_index(drop=True)
    elif sparse.issparse(data):
        raise TypeError(
            f"`{name}` must be a table, an array or a sequence of texts, got a sparse "
            f"{type(data).__name__}. Pass the raw rows from which it was made."
        )
    elif hasattr(data, "to_pandas"):  # polars
        frame = data.to_pandas()
    else:
        frame = _of_array(name, data, names)
        one_unit = getattr(data, "ndim", 0) > 2
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise ValueError(
            f"`{name}` must have a different name for each column, got {twice[0]!r} "
            "twice. Rename one."
        )
    if not frame.shape[1]:
        raise ValueError(f"`{name}` must have at least one column, got none.")
    if not len(frame):
        raise ValueError(f"`{name}` must have at least one row, got none.")
    return Table(frame, one_unit)


def _of_array(name: str, data: Any, names: Sequence[str] | None) -> pd.DataFrame:
    array = np.asarray(data.numpy(force=True) if hasattr(data, "numpy") else data)
    if array.ndim == 0:
        raise TypeError(f"`{name}` must hold samples, got {data!r:.200}.")
    if array.ndim == 1:
        if array.dtype.kind in "UO" and all(map(_is_text, array)):
            return pd.DataFrame({"text": array.astype(object)})
        raise ValueError(
            f"`{name}` must have two axes or hold texts, got an array of shape "
            f"{array.shape}. A single feature is `{name}.reshape(-1, 1)`."
        )
    array = array.reshape(len(array), int(np.prod(array.shape[1:])))
    frame = pd.DataFrame(array)
    if array.dtype == object:
        frame = frame.infer_objects()
    return frame if names is None else frame.set_axis(list(names), axis=1)


def _is_text(value: object) -> bool:
    return isinstance(value, str) or value is None


def row_digests(frame: pd.DataFrame) -> list[str]:
    """Return 16 hexadecimal digits for each row, the same where all cells are equal."""
    return [f"{digest:016x}" for digest in Table(frame).rows.tolist()]
