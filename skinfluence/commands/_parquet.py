"""Tables as Parquet files, through pyarrow."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._outputs import new_output
from ..exceptions import TableError
from ._numbers import written_like


class ParquetFile:
    """A table with typed columns."""

    one_row, rows, task = "row", "rows", "auto"
    decimal = "."

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise TableError(
                "Parquet files need the package pyarrow: install it "
                "(pip install pyarrow), or save the table as CSV."
            ) from error
        self._arrow, self._parquet = pyarrow, parquet
        try:
            self._n_rows = parquet.read_metadata(path).num_rows
            self.columns = list(parquet.read_schema(path).names)
        except (OSError, pyarrow.ArrowException) as error:
            raise TableError(
                f"The file {str(path)!r} cannot be read as Parquet: {error}."
            ) from error

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._n_rows)

    def read(self, chosen: Collection[int] | None) -> tuple[pd.DataFrame, np.ndarray]:
        """Return all or some rows, and their numbers from 1."""
        table = self._parquet.read_table(self.path)
        rows = np.arange(self._n_rows) if chosen is None else np.array(sorted(chosen))
        if chosen is not None:
            table = table.take(rows)
        # An index that pandas may have written is a column like others.
        return table.to_pandas(ignore_metadata=True), rows + 1

    def copy(
        self, path: Path, removed: Collection[int], labels: Mapping[int, Any], name: str
    ) -> None:
        """Write the table again without some rows, and with other labels in some."""
        table = self._parquet.read_table(self.path)
        if labels:
            place = table.column_names.index(name)
            values = table.column(place).to_pylist()
            for row, label in labels.items():
                old = values[row]
                amount = isinstance(old, str) and isinstance(label, float)
                values[row] = written_like(old, label) if amount else label
            # In the column's own type, so that the schema stays.
            column = self._arrow.array(values, type=table.schema.field(place).type)
            table = table.set_column(place, table.schema.field(place), column)
        gone = set(removed)
        kept = [row for row in range(len(table)) if row not in gone]
        with new_output(path) as file:
            self._parquet.write_table(table.take(kept), file)
