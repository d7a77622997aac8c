"""How a page shows samples: as images, texts, or rows of a table."""

import base64
import io
import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils.validation import _num_samples

from ..._upright import upright
from .._sample_views import ImageView, TextView, view_of
from .._typing import Names
from .extras import needed
from .rows import Columns, Rows, named
from .values import as_it_stands, cut, longest_text

# (up to this number of pictures, pixels of the longer side), to limit the page's size.
_SIDES = ((500, 192), (2000, 96), (float("inf"), 64))
# Up to this size a browser enlarges pixels as squares, rather than blurring them.
_SMALL = 64
_N_ENTRIES = 12

Shown = dict[str, Any]
"""What a page shows of a sample, as JSON."""


class Showing(Protocol):
    """Samples that can be shown."""

    def __len__(self) -> int: ...

    def show(self, rows: np.ndarray) -> list[Shown]:
        """Return what a page shows of some samples."""
        ...

    def key(self, row: int) -> Hashable:
        """Return what is the same for samples that are the same to a reader."""
        ...


def showing_of(
    name: str,
    samples: object,
    image_shape: Sequence[int] | None,
    feature_names: Names,
    columns: Columns = None,
) -> Showing:
    """Return the form in which samples are shown, or raise an error."""
    if sparse.issparse(samples):
        return Entries(samples, feature_names)
    if _are_files(samples):
        return Files(samples)
    view = view_of(samples, image_shape, feature_names, 1, name)
    if isinstance(view, TextView):
        return Texts(view.texts, _index(samples))
    if isinstance(view, ImageView):
        return Pictures(view)
    return Rows(view.table, columns)


class Pictures:
    """Samples as images, PNGs in data URIs."""

    def __init__(self, view: ImageView) -> None:
        self.view = view
        self._image = needed("PIL.Image", "Pillow")

    def __len__(self) -> int:
        return len(self.view)

    def key(self, row: int) -> Hashable:
        """Return the pixels."""
        return np.asarray(self.view.images[row]).tobytes()

    def show(self, rows: np.ndarray) -> list[Shown]:
        """Return each sample's picture, smaller if there are many."""
        side = _side(rows)
        return [self._picture(int(row), side) for row in rows]

    def _picture(self, row: int, side: int) -> Shown:
        pixels = np.nan_to_num(255 * self.view.scaled(row)).round().astype(np.uint8)
        return _thumbnail(self._image.fromarray(pixels), side)


class Files:
    """Samples as pictures in files, which are read when they are shown."""

    def __init__(self, files: Any) -> None:
        self.files = list(files)
        index = _index(files)
        paths = pd.Index(list(map(os.fspath, self.files)), dtype=object)
        self._names = paths if index is None else index
        self._image = needed("PIL.Image", "Pillow")

    def __len__(self) -> int:
        return len(self.files)

    def key(self, row: int) -> Hashable:
        """Return the file's content."""
        return Path(self.files[row]).read_bytes()

    def show(self, rows: np.ndarray) -> list[Shown]:
        """Return each picture, made small, and its name."""
        side = _side(rows)
        return [
            {**self._picture(self.files[row], side), **named(self._names, row)}
            for row in rows
        ]

    def _picture(self, file: os.PathLike[str], side: int) -> Shown:
        with self._image.open(os.fspath(file)) as image:
            image.draft("RGB", (2 * side, 2 * side))
            # Of photographs PNG would be several times as large.
            return _thumbnail(upright(image), side, "JPEG")


def _index(samples: Any) -> pd.Index | None:
    """Return the names of samples, if they have any."""
    return samples.index if isinstance(samples, pd.Series) else None


def _are_files(samples: Any) -> bool:
    listed = isinstance(samples, (list, tuple, pd.Series))
    return listed and all(isinstance(each, os.PathLike) for each in samples)


def _side(rows: np.ndarray) -> int:
    return next(side for most, side in _SIDES if len(rows) <= most)


def _thumbnail(image: Any, side: int, form: str = "PNG") -> Shown:
    """Return an image in a data URI, in this format unless it is small."""
    image.thumbnail((side, side))
    small = max(image.size) <= _SMALL
    form = "PNG" if small else form
    file = io.BytesIO()
    image.save(file, form)
    data = base64.b64encode(file.getvalue()).decode()
    return {"image": f"data:image/{form.lower()};base64,{data}", "small": small}


class Texts:
    """Samples as texts."""

    def __init__(self, texts: Sequence[str], index: pd.Index | None = None) -> None:
        self.texts, self._index = texts, index

    def __len__(self) -> int:
        return len(self.texts)

    def key(self, row: int) -> Hashable:
        """Return the text."""
        return self.texts[row].strip()

    def show(self, rows: np.ndarray) -> list[Shown]:
        """Return each text, or its beginning, in parts, and its full length."""
        longest = longest_text(len(rows))
        texts = [self.texts[row].strip() for row in rows]
        return [
            {"text": [[t[:longest], 0]], "length": len(t), **named(self._index, row)}
            for t, row in zip(texts, rows, strict=True)
        ]


class Entries:
    """Samples as the largest entries of a sparse matrix."""

    def __init__(self, matrix: sparse.csr_matrix, names: Names) -> None:
        self.matrix = sparse.csr_matrix(matrix)
        self.names = names

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    def key(self, row: int) -> Hashable:
        """Return the entries."""
        entries = self.matrix[[row]]
        return entries.indices.tobytes(), entries.data.tobytes()

    def show(self, rows: np.ndarray) -> list[Shown]:
        """Return each sample's largest entries, as the rows of a table."""
        return [self._entries(self.matrix[[row]]) for row in rows]

    def _entries(self, entries: sparse.csr_matrix) -> Shown:
        most = np.argsort(-np.abs(entries.data), kind="stable")[:_N_ENTRIES]
        lines = [
            [self._name(entries.indices[k]), as_it_stands(entries.data[k]), "", 0.0]
            for k in most
        ]
        return {"table": lines, "more": len(entries.data) - len(lines)}

    def _name(self, k: int) -> str:
        return f"x{k}" if self.names is None else cut(self.names[k])


def shown_as(
    raw_name: str,
    raw: object,
    name: str,
    samples: object,
    image_shape: Sequence[int] | None,
    feature_names: Names,
    columns: Columns = None,
) -> Showing:
    """Return the form in which samples are shown: raw, if that is given."""
    if raw is None:
        return showing_of(name, samples, image_shape, feature_names, columns)
    # `feature_names` are those of X: raw has its own.
    showing = showing_of(raw_name, raw, image_shape, None, columns)
    if len(showing) != _num_samples(samples):
        raise ValueError(
            f"`{raw_name}` must have {_num_samples(samples)} rows, as {name} has, got "
            f"{len(showing)}."
        )
    return showing
