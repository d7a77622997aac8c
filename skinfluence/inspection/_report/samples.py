"""How a page shows samples: as images, texts, or rows of a table."""

import base64
import io
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils.validation import _num_samples

from .._sample_views import ImageView, TextView, view_of, written
from .._typing import Names
from .extras import needed
from .unusual import Column

# (up to this number of pictures, pixels of the longer side), to limit the page's size.
_SIDES = ((500, 192), (2000, 96), (float("inf"), 64))
# Up to this size a browser enlarges pixels as squares, rather than blurring them.
_SMALL = 64
# Characters of all texts together, and the limits for a single one.
_ALL_CHARACTERS, _MOST_CHARACTERS, _FEWEST_CHARACTERS = 8_000_000, 20_000, 600
_VALUE_CHARACTERS = 200
_N_FEATURES = 12

Shown = dict[str, Any]
"""What a page shows of a sample, as JSON."""


class Showing(Protocol):
    """Samples that can be shown."""

    def __len__(self) -> int: ...

    def show(self, rows: np.ndarray) -> list[Shown]:
        """Return what a page shows of some samples."""
        ...


def showing_of(
    name: str,
    samples: object,
    image_shape: Sequence[int] | None,
    feature_names: Names,
) -> Showing:
    """Return the form in which samples are shown, or raise an error."""
    if sparse.issparse(samples):
        return Entries(samples, feature_names)
    view = view_of(samples, image_shape, feature_names, 1, name)
    if isinstance(view, TextView):
        return Texts(view.texts)
    return Pictures(view) if isinstance(view, ImageView) else Rows(view.table)


class Pictures:
    """Samples as images, PNGs in data URIs."""

    def __init__(self, view: ImageView) -> None:
        self.view = view
        self._image = needed("PIL.Image", "Pillow")

    def __len__(self) -> int:
        return len(self.view)

    def show(self, rows: np.ndarray) -> list[Shown]:
        """Return each sample's picture, smaller if there are many."""
        side = next(side for most, side in _SIDES if len(rows) <= most)
        return [self._picture(int(row), side) for row in rows]

    def _picture(self, row: int, side: int) -> Shown:
        pixels = np.nan_to_num(255 * self.view.scaled(row)).round().astype(np.uint8)
        image = self._image.fromarray(pixels)
        image.thumbnail((side, side))
        file = io.BytesIO()
        image.save(file, "PNG")
        source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        return {"image": source, "small": max(image.size) <= _SMALL}


class Texts:
    """Samples as texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    def show(self, rows: np.ndarray) -> list[Shown]:
        """Return each text, or its beginning, in parts, and its full length."""
        room = _ALL_CHARACTERS // max(len(rows), 1)
        longest = min(max(room, _FEWEST_CHARACTERS), _MOST_CHARACTERS)
        texts = [self.texts[row].strip() for row in rows]
        return [{"text": [[t[:longest], 0]], "length": len(t)} for t in texts]


class Rows:
    """Samples as rows of a table, the most unusual values first."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def show(self, rows: np.ndarray) -> list[Shown]:
        """Return the most unusual values: [name, value, why, how unusual] of each."""
        values = [self.table.iloc[:, k] for k in range(self.table.shape[1])]
        columns = [Column(each) for each in values]
        strengths = [
            column.unusual(each.iloc[rows])
            for column, each in zip(columns, values, strict=True)
        ]
        table = np.stack(strengths, axis=1)
        shown = []
        for row, scores in zip(rows, table, strict=True):
            most = np.argsort(-np.abs(scores), kind="stable")[:_N_FEATURES]
            lines = [
                [
                    _cut(self.table.columns[k]),
                    _value(values[k].iat[row]),
                    columns[k].why(scores[k]),
                    round(float(abs(scores[k])), 2),
                ]
                for k in most
            ]
            entry = {"table": lines, "more": len(scores) - len(lines)}
            shown.append({**entry, **self._name(row)})
        return shown

    def _name(self, row: int) -> Shown:
        """Return a row's label, unless the index is the default one."""
        index = self.table.index
        if isinstance(index, pd.RangeIndex):
            return {}
        prefix = "row " if pd.api.types.is_integer_dtype(index) else ""
        return {"name": prefix + _cut(index[row])}


class Entries:
    """Samples as the largest entries of a sparse matrix."""

    def __init__(self, matrix: sparse.csr_matrix, names: Names) -> None:
        self.matrix = sparse.csr_matrix(matrix)
        self.names = names

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    def show(self, rows: np.ndarray) -> list[Shown]:
        """Return each sample's largest entries, as the rows of a table."""
        return [self._entries(self.matrix[[row]]) for row in rows]

    def _entries(self, entries: sparse.csr_matrix) -> Shown:
        most = np.argsort(-np.abs(entries.data), kind="stable")[:_N_FEATURES]
        lines = [
            [self._name(entries.indices[k]), _value(entries.data[k]), "", 0.0]
            for k in most
        ]
        return {"table": lines, "more": len(entries.data) - len(lines)}

    def _name(self, k: int) -> str:
        return f"x{k}" if self.names is None else _cut(self.names[k])


def _value(value: Any) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "—"
    if isinstance(value, (float, np.floating)):
        return written(value)
    return _cut(value)


def _cut(value: object) -> str:
    text = str(value)
    if len(text) <= _VALUE_CHARACTERS:
        return text
    return text[: _VALUE_CHARACTERS - 1] + "…"


def shown_as(
    raw_name: str,
    raw: object,
    name: str,
    samples: object,
    image_shape: Sequence[int] | None,
    feature_names: Names,
) -> Showing:
    """Return the form in which samples are shown: raw, if that is given."""
    if raw is None:
        return showing_of(name, samples, image_shape, feature_names)
    # `feature_names` are those of X: raw has its own.
    showing = showing_of(raw_name, raw, image_shape, None)
    if len(showing) != _num_samples(samples):
        raise ValueError(
            f"`{raw_name}` must have {_num_samples(samples)} rows, as {name} has, got "
            f"{len(showing)}."
        )
    return showing
