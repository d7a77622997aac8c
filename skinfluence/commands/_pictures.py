"""Pictures, of which a model is given features."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..issues import KINDS
from ._choices import IMAGE
from ._features import Features
from ._inputs import unused
from ._kinds import Column
from ._picture_files import (
    Picture,
    Size,
    common_size,
    in_words,
    read_pictures,
    shapes_of,
)
from ._tables import Table

# Pixels are no columns that anyone would drop.
_OF_COLUMNS = ("constant", "identifier", "giveaway", "missing")


class Pictures:
    """Pictures in files, which a column names."""

    alone = True
    words: list[str] | None = None
    faults: Sequence[str] = [kind for kind in KINDS if kind not in _OF_COLUMNS]

    def __init__(
        self, columns: Sequence[Column], size: Size, features: Features
    ) -> None:
        self.columns = columns
        (self._name,) = (each.name for each in columns if each.kind == IMAGE)
        self._size, self._features = size, features

    def read(self, table: Table) -> Table:
        """Return a table with the pictures in the place of their paths."""
        pictures = read_pictures(table, self._name, self._size)
        return replace(table, frame=table.frame.assign(**{self._name: pictures}))

    def fit(self, table: Table) -> Any:
        """Learn filters and scales, without labels."""
        pictures = self._pictures(table)
        return self._features.transformer.fit_transform(pictures).astype(np.float32)

    def transform(self, table: Table) -> Any:
        """Return features."""
        pictures = self._pictures(table)
        return self._features.transformer.transform(pictures).astype(np.float32)

    def without(self, names: Sequence[str]) -> "Pictures":
        """Return the same: the model is given no other column."""
        return self

    def shown(self, table: Table, target: str) -> Any:
        """Return the pictures, under the names that they have in the table."""
        pictures = self._pictures(table)
        return pd.Series(pictures, index=[each.name for each in pictures])

    def cells(self, table: Table) -> pd.DataFrame:
        """Return a digest of each picture."""
        digests = [each.digest for each in self._pictures(table)]
        return pd.DataFrame({self._name: digests})

    def comparable(self, tables: Sequence[Table]) -> np.ndarray:
        """Return the pixels of all pictures."""
        pictures = [each for table in tables for each in self._pictures(table)]
        return np.stack([each.pixels for each in pictures])

    def moves(self, table: Table) -> Iterator[tuple[str, np.ndarray]]:
        """Yield nothing: no picture is typical."""
        return iter(())

    def in_words(self) -> Mapping[str, str]:
        """Describe the features."""
        return {"Pictures": self._features.said}

    def _pictures(self, table: Table) -> list[Picture]:
        return table.frame[self._name].tolist()


def pictures_of(
    table: Table, name: str, others: Sequence[str], features: Features
) -> Pictures:
    """Return the pictures that a column names."""
    shapes = shapes_of(table, name)
    columns = [Column(name, IMAGE, in_words(shapes)), *unused(others)]
    return Pictures(columns, common_size(shapes), features)
