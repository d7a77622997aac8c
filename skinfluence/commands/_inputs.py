"""What of a table a model is given, and how its rows are compared and shown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy import sparse

from ..exceptions import TableError
from ..issues import KINDS
from ._cells import is_missing, texts
from ._choices import CATEGORY, DATE, NUMBER, TEXT, UNUSED
from ._columns import (
    convert,
    convert_to_show,
    describe_columns,
    in_words,
    preprocessor,
)
from ._features import Features, text_features, words_of
from ._kinds import AS_REQUESTED, Column, kind_of
from ._tables import Table

BESIDE = "beside the pictures or the text"
"""Why a column is unused of which the model could be given something."""


class Inputs(Protocol):
    """What a model is given: the columns of a table, texts, or pictures."""

    @property
    def columns(self) -> Sequence[Column]:
        """All columns but the target, with their kinds."""

    @property
    def alone(self) -> bool:
        """Whether one column is all that the model is given, whatever others hold."""

    @property
    def words(self) -> list[str] | None:
        """The words that are the features, if they are words of texts."""

    @property
    def faults(self) -> Sequence[str]:
        """The kinds of faults that such data can have."""

    def read(self, table: Table) -> Table:
        """Return a table with all that belongs to its rows."""

    def fit(self, table: Table) -> Any:
        """Learn what to do from a table, and return a model's input for it."""

    def transform(self, table: Table) -> Any:
        """Return a model's input for another table."""

    def without(self, names: Sequence[str]) -> "Inputs":
        """Return the same without some columns, not fitted."""

    def shown(self, table: Table, target: str) -> Any:
        """Return the rows as a report shows them."""

    def cells(self, table: Table) -> pd.DataFrame:
        """Return a frame whose rows are equal where those of the table are."""

    def comparable(self, tables: Sequence[Table]) -> Any:
        """Return the rows of tables, in which faults are searched."""

    def moves(self, table: Table) -> Iterator[tuple[str, np.ndarray]]:
        """Yield columns, and how the input moves if their cells are made typical."""

    def in_words(self) -> Mapping[str, str]:
        """Say what becomes of the rows."""


class Columns:
    """The columns of a table, each by its kind."""

    faults: Sequence[str] = KINDS
    alone = False

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns
        self._transformer = preprocessor(columns)

    @property
    def words(self) -> list[str] | None:
        """None, since words are not all that the model is given."""
        return None

    def read(self, table: Table) -> Table:
        """Return the table as it is."""
        return table

    def fit(self, table: Table) -> Any:
        """Learn scales, categories and words."""
        X = self._transformer.fit_transform(convert(table, self.columns))
        return X.astype(np.float32)

    def transform(self, table: Table) -> Any:
        """Return numbers, as an array or a CSR matrix."""
        X = self._transformer.transform(convert(table, self.columns))
        return X.astype(np.float32)

    def without(self, names: Sequence[str]) -> "Columns":
        """Return the other columns."""
        return Columns([each for each in self.columns if each.name not in names])

    def shown(self, table: Table, target: str) -> Any:
        """Return all columns but the target as they stand in the table."""
        frame = convert_to_show(table, target, self.columns)
        return frame.set_axis(_places(table))

    def cells(self, table: Table) -> pd.DataFrame:
        """Return what was not dropped: numbers and dates as such, or cells."""
        kept = [
            each
            for each in self.columns
            if each.why != AS_REQUESTED or each.kind != UNUSED
        ]
        plain = convert(table, [each for each in kept if each.kind in (NUMBER, DATE)])
        cells: dict[str, Any] = {}
        for column in kept:
            written = table.frame[column.name]
            if column.kind == NUMBER:
                cells[column.name] = plain[column.name].to_numpy()
            elif column.kind == DATE:
                days = plain[column.name].to_numpy()
                cells[column.name] = pd.to_datetime(days, unit="D")
            else:
                known = texts(written).where(~is_missing(written), None)
                cells[column.name] = known.to_numpy()
        return pd.DataFrame(cells)

    def comparable(self, tables: Sequence[Table]) -> pd.DataFrame:
        """Return these cells of all tables."""
        return pd.concat([self.cells(table) for table in tables], ignore_index=True)

    def moves(self, table: Table) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the numbers, dates and categories; texts have no typical value.

        Through the preprocessing: it limits extremes, and merges rare categories.
        """
        frame = convert(table, self.columns)
        # In double precision, as small as differences are.
        before = self._transformer.transform(frame)
        if sparse.issparse(before):
            return
        for column in self.columns:
            if column.kind in (CATEGORY, DATE, NUMBER):
                cells = frame[column.name]
                moved = frame.assign(**{column.name: _typical(cells)})
                yield column.name, self._transformer.transform(moved) - before

    def in_words(self) -> Mapping[str, str]:
        """Describe what becomes of the columns of each kind."""
        return in_words(self.columns)


class Texts(Columns):
    """Texts, of which a model is given features."""

    alone = True

    def __init__(self, columns: Sequence[Column], features: Features) -> None:
        self.columns = columns
        (self._name,) = (each.name for each in columns if each.kind == TEXT)
        self._features = features

    @property
    def words(self) -> list[str] | None:
        """The words that are the features."""
        return words_of(self._features)

    def fit(self, table: Table) -> Any:
        """Learn the words, or scales."""
        return self._features.transformer.fit_transform(self._texts(table)).astype(
            np.float32
        )

    def transform(self, table: Table) -> Any:
        """Return features."""
        return self._features.transformer.transform(self._texts(table)).astype(
            np.float32
        )

    def cells(self, table: Table) -> pd.DataFrame:
        """Return the texts: an empty one, or "NA", is no missing value but a text."""
        return super().cells(table).assign(**{self._name: self._texts(table)})

    def shown(self, table: Table, target: str) -> Any:
        """Return the texts."""
        return pd.Series(self._texts(table), index=_places(table))

    def moves(self, table: Table) -> Iterator[tuple[str, np.ndarray]]:
        """Yield nothing: no text is typical."""
        return iter(())

    def in_words(self) -> Mapping[str, str]:
        """Describe the features."""
        return {"Texts": self._features.said}

    def _texts(self, table: Table) -> list[str]:
        return texts(table.frame[self._name]).tolist()


def columns_of(table: Table, names: Sequence[str], kinds: Mapping[str, str]) -> Columns:
    """Return the columns of a table, as texts if it has no other column."""
    columns = describe_columns(table, names, kinds)
    if [each.kind for each in columns] == [TEXT] and table.frame.shape[1] == 2:
        return Texts(columns, text_features(None))
    return Columns(columns)


def texts_of(
    table: Table, name: str, others: Sequence[str], features: Features
) -> Texts:
    """Return the texts of a column; one that is empty has no words, and is told."""
    column = kind_of(table, name, TEXT)
    if column.kind != TEXT:
        raise TableError(f"{name!r} {column.why}: there is nothing to learn.")
    empty = np.flatnonzero(texts(table.frame[name]) == "")
    if len(empty):
        column = replace(column, why=f"{column.why}; empty in {table.where(empty)}")
    return Texts([column, *unused(others)], features)


def unused(names: Sequence[str]) -> list[Column]:
    """Return columns that the model is not given, beside pictures or texts."""
    return [Column(name, UNUSED, BESIDE) for name in names]


def _places(table: Table) -> list[str]:
    return [table.where([row]) for row in range(len(table))]


def _typical(cells: pd.Series) -> Any:
    if pd.api.types.is_numeric_dtype(cells):
        return np.nanmedian(cells)
    return cells.mode()[0]
