"""The datasets from local files, for machines without a network."""

import hashlib
import io
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

VARIABLE = "SKINFLUENCE_DATA"
_SUMS = "SHA256SUMS"
_CIFAR10_FILES = {
    "train": ("cifar10_train_a.npz", "cifar10_train_b.npz"),
    "test": ("cifar10_test.npz",),
}
_SIDE = 32  # of a CIFAR-10 image, in pixels


def local_folder() -> Path | None:
    """Return the folder that the environment variable names, None if it is unset."""
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    folder = Path(name).expanduser().resolve()
    if not folder.is_dir():
        raise NotADirectoryError(
            f"{VARIABLE} must name a folder, got {name!r}. Unset it to download."
        )
    return folder


def mnist(folder: Path, splits: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the images, one in each row, and the digits of the splits."""
    with np.load(checked(folder, "mnist.npz")) as arrays:
        data = np.concatenate([arrays[f"x_{split}"] for split in splits])
        target = np.concatenate([arrays[f"y_{split}"] for split in splits])
    return data.reshape(len(data), -1), target.astype(np.int64)


def cifar10(folder: Path, splits: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the images, channels first, and the classes of the splits."""
    images, labels = [], []
    for name in [name for split in splits for name in _CIFAR10_FILES[split]]:
        with np.load(checked(folder, name)) as arrays:
            starts, target = arrays["offsets"], arrays["labels"]
            blocks = np.split(arrays["webp"], starts[1:-1])
        images += [_tiles(block.tobytes()) for block in blocks]
        labels.append(target)
    return np.concatenate(images), np.concatenate(labels).astype(np.int64)


def _tiles(webp: bytes) -> NDArray[np.uint8]:
    """Cut a picture into the grid of images that it holds, row by row."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Pillow is needed to read the local files of CIFAR-10: pip install pillow."
        ) from error
    picture = np.asarray(Image.open(io.BytesIO(webp)).convert("RGB"))
    height, width, channels = picture.shape
    grid = picture.reshape(height // _SIDE, _SIDE, width // _SIDE, _SIDE, channels)
    return grid.transpose(0, 2, 4, 1, 3).reshape(-1, channels, _SIDE, _SIDE)


def adult(folder: Path) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Return the table with the column ``class``, and which rows are test rows."""
    path = checked(folder, "adult.csv.gz")
    frame = pd.read_csv(path, na_values=["?"], keep_default_na=False)
    is_test = (frame.pop("split") == "test").to_numpy(dtype=bool)
    return frame.rename(columns={"income": "class"}), is_test


def checked(folder: Path, name: str) -> Path:
    """Return the path of a file that exists and has the expected checksum."""
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(
            f"The folder that {VARIABLE} names has no file {name!r}: {folder}. Put it "
            f"there, or unset {VARIABLE} to download."
        )
    expected = _expected_sums(folder).get(name)
    if expected is not None:
        _verify(path, expected)
    return path


def _expected_sums(folder: Path) -> dict[str, str]:
    sums = folder / _SUMS
    if not sums.is_file():
        return {}
    lines = [line.split(maxsplit=1) for line in sums.read_text().splitlines()]
    return {line[1].lstrip("*"): line[0].lower() for line in lines if len(line) == 2}


@cache  # each file is hashed once per process; errors are not cached
def _verify(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise OSError(
            f"{path} has the SHA-256 sum {actual}, but {_SUMS} says {expected}. "
            "Replace it with an intact copy."
        )
