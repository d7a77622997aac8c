"""Pictures in files: found, checked, and made the same size."""

import os
import re
import stat
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._upright import upright
from ..exceptions import TableError
from ._cells import is_missing, texts
from ._tables import Table

SIDE = 32
"""Pixels of the longer side up to which pictures that are alike keep their size."""

# Those that Pillow decodes by itself: for PostScript it starts another program.
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
_GREY = ("1", "L", "LA")
# More than eight bits for a channel: how they become eight is not ours to say.
_DEEP = ("I", "F")
_DEEP_IN_FILE = re.compile(";16[BLN]")

Size = tuple[int, int]
"""Width and height."""


@dataclass(frozen=True, eq=False)
class Picture(os.PathLike[str]):
    """A picture in a file.

    Attributes
    ----------
    path : Path
        The file.
    name : str
        Its path from the folder, or the table, that names it.
    pixels : ndarray of shape (height, width, 3), uint8
        What it shows, in colours, and in the size that all have.
    """

    path: Path
    name: str
    pixels: np.ndarray

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        """Return what decisions are about: the name, and what the picture shows."""
        return f"{self.name} {self.digest}"

    @cached_property
    def digest(self) -> str:
        """The same for pictures with the same pixels."""
        return sha256(self.pixels.tobytes()).hexdigest()[:16]

    def image(self) -> Any:
        """Return the whole picture, as an image of Pillow."""
        with _opened(self.path, self.name) as image:
            return upright(image)


@dataclass(frozen=True)
class Shape:
    """What the head of a picture's file says.

    Attributes
    ----------
    size : tuple of int
        Width and height.
    grey : bool
        Whether it has no colours.
    """

    size: Size
    grey: bool


def shapes_of(table: Table, name: str) -> list[Shape]:
    """Return the sizes of the pictures that a column names."""
    if find_spec("PIL") is None:
        raise TableError(
            "Pictures need the package Pillow: pip install 'skinfluence[report]'."
        )
    shapes = []
    for path, cell in _paths(table, name):
        with _opened(path, cell) as image:
            shapes.append(Shape(image.size, image.mode in _GREY))
    return shapes


def common_size(shapes: Sequence[Shape]) -> Size:
    """Return the size that a model is given: that of all, if it is small, or a square.

    A model takes pictures of one size, and large ones take long.
    """
    first, *others = {each.size for each in shapes}
    return (SIDE, SIDE) if others or max(first) > SIDE else first


def in_words(shapes: Sequence[Shape]) -> str:
    """Say how large pictures are, and what becomes of them."""
    sizes, common = sorted({each.size for each in shapes}), common_size(shapes)
    said = _by(sizes[0])
    if len(sizes) > 1:
        said = f"{len(sizes):,} sizes from {_by(sizes[0])} to {_by(sizes[-1])}"
    if sizes != [common]:
        said += f", resized to {_by(common)}"
    n_grey = sum(each.grey for each in shapes)
    if 0 < n_grey < len(shapes):
        said += f"; {n_grey:,} of {len(shapes):,} are grey, taken as coloured"
    return said


def read_pictures(table: Table, name: str, size: Size) -> pd.Series:
    """Return the pictures that a column names, all in this size."""
    pictures = [_read(path, cell, size) for path, cell in _paths(table, name)]
    return pd.Series(pictures, index=table.frame.index, dtype=object)


def _by(size: Size) -> str:
    return f"{size[0]} x {size[1]} pixels"


def _paths(table: Table, name: str) -> Iterator[tuple[Path, str]]:
    """Yield the file of each row, and its path as it stands in the table."""
    column, file = table.frame[name], table.file.path
    missing = np.flatnonzero(is_missing(column))
    if len(missing):
        raise TableError(
            f"{name!r} must name a picture in every row, but is empty in "
            f"{table.where(missing)} of {table.name!r}."
        )
    # The name of a file may begin or end with a space.
    cells = column if file.is_dir() else texts(column)
    base = (file if file.is_dir() else file.parent).resolve()
    for row, cell in enumerate(cells):
        yield _path(base, cell, f"{table.where([row])} of {table.name!r}"), cell


def _path(base: Path, cell: str, where: str) -> Path:
    """Return the file that a cell names, which must be below a folder."""
    if "\0" in cell or Path(cell).is_absolute() or ".." in Path(cell).parts:
        raise TableError(
            "Pictures must have paths that lead down from the folder of their table, "
            f"got {cell!r} in {where}: put the table into a folder that holds them."
        )
    path = base / cell
    try:
        mode, inside = path.stat().st_mode, path.resolve().is_relative_to(base)
    except (OSError, RuntimeError) as error:  # links in a circle, before Python 3.13
        raise TableError(f"There is no picture {cell!r}, named in {where}.") from error
    if not inside:
        raise TableError(
            f"{cell!r} in {where} leads out of its folder by a link: put the file "
            "itself there."
        )
    # To open a pipe would be to wait for ever.
    if not stat.S_ISREG(mode):
        raise TableError(f"{cell!r} in {where} is no file.")
    return path


def _read(path: Path, name: str, size: Size) -> Picture:
    from PIL import Image

    with _opened(path, name) as image:
        # Of a large JPEG no more than needed is decoded.
        image.draft("RGB", size)
        whole = upright(image)
        if whole.size != size:
            whole = whole.resize(size, Image.Resampling.BOX)
        return Picture(path, name, np.array(whole))


def _is_deep(image: Any) -> bool:
    """Return whether a channel has more than eight bits, of which Pillow cuts some."""
    if image.mode.split(";")[0] in _DEEP:
        return True
    for *_, how in image.tile:
        coded, *others = how if isinstance(how, tuple) else (how,)
        # A PPM names the largest value.
        if _DEEP_IN_FILE.search(str(coded)) or (
            image.format == "PPM" and others and others[0] > 255
        ):
            return True
    return False


@contextmanager
def _opened(path: Path, name: str) -> Iterator[Any]:
    """Yield an image of Pillow, not decoded yet; tell in one sentence what is wrong."""
    from PIL import Image, UnidentifiedImageError

    bombs = Image.DecompressionBombError, Image.DecompressionBombWarning
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                if _is_deep(image):
                    raise TableError(
                        f"The picture {name!r} has more than 8 bits for a channel: "
                        "save it with 8."
                    )
                yield image
    except TableError:
        raise
    except bombs as error:
        raise TableError(
            f"The picture {name!r} has more than {Image.MAX_IMAGE_PIXELS:,} pixels: "
            "make it smaller."
        ) from error
    except UnidentifiedImageError as error:
        raise TableError(
            f"{name!r} is no picture of a known format ({', '.join(_FORMATS)})."
        ) from error
    # Of files that were cut or forged decoders raise errors of all kinds.
    except Exception as error:
        raise TableError(
            f"The picture {name!r} cannot be read: it is damaged, or no one may read "
            "it."
        ) from error
