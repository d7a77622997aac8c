"""Pictures in a folder for each class, as a table of paths and labels."""

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from .._folders import new_folder
from ..exceptions import TableError
from ._cells import MISSING
from ._choices import CLASSIFICATION

PATH, LABEL = "path", "label"

# What systems leave in folders, beside all that is hidden.
_LEFT_BY_SYSTEMS = ("Thumbs.db", "desktop.ini", "__MACOSX")


class PictureFolder:
    """A folder with one folder of pictures for each class."""

    one_row, rows, task = "picture", "pictures", CLASSIFICATION
    decimal = "."
    columns = (PATH, LABEL)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = sorted(self._found(path))
        if not self._files:
            raise TableError(
                f"{str(path)!r} is a folder without pictures: name a table, or a "
                "folder that has a folder with pictures for each class."
            )

    def count(self) -> int:
        """Return the number of pictures."""
        return len(self._files)

    def read(self, chosen: Collection[int] | None) -> tuple[pd.DataFrame, np.ndarray]:
        """Return the path and the label of all or some pictures, and their places."""
        numbers = range(len(self._files)) if chosen is None else sorted(chosen)
        paths = [self._files[number] for number in numbers]
        labels = [PurePosixPath(path).parts[0] for path in paths]
        frame = pd.DataFrame({PATH: paths, LABEL: labels}, dtype=object)
        return frame, frame[PATH].to_numpy()

    def copy(
        self, path: Path, removed: Collection[int], labels: Mapping[int, Any], name: str
    ) -> None:
        """Copy the folder without some pictures, and others to other folders."""
        kept = [k for k in range(len(self._files)) if k not in removed]
        taken = {self._files[k] for k in kept if k not in labels}
        with new_folder(path, lambda _: None) as folder:
            for k in kept:
                name = self._files[k]
                if k in labels:
                    name = _free(name, str(labels[k]), taken)
                    taken.add(name)
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.path / self._files[k], target)

    def _found(self, folder: Path) -> Iterator[str]:
        """Yield the paths of all pictures below a folder, from this one."""
        for entry in self._entries(folder):
            path = Path(entry.path)
            name = path.relative_to(self.path).as_posix()
            if entry.name.startswith(".") or entry.name in _LEFT_BY_SYSTEMS:
                continue
            _check_name(name)
            if entry.is_symlink():
                raise TableError(
                    f"{name!r} in {self.path.name!r} is a link, and links are not "
                    "followed: put the file itself there."
                )
            if entry.is_dir():
                yield from self._found(path)
            elif folder == self.path:
                raise TableError(
                    f"{name!r} in {self.path.name!r} must be in the folder of its "
                    "class: move it to one, or away."
                )
            else:
                yield name

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return list(entries)
        except OSError as error:
            raise TableError(
                f"The folder {str(folder)!r} cannot be read: {error.strerror}."
            ) from error


def _check_name(name: str) -> None:
    """Refuse names that could not be written, or whose label would be none."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise TableError(
            f"The name of {name!r} is not text in UTF-8: rename it."
        ) from error
    if name.strip() in MISSING:
        raise TableError(f"The folder {name!r} means a missing label: rename it.")


def _free(name: str, label: str, taken: Collection[str]) -> str:
    """Return a name under another label that no picture has."""
    old, *rest = PurePosixPath(name).parts
    wanted = PurePosixPath(label, *rest)
    number = 0
    while str(wanted) in taken:
        number += 1
        wanted = wanted.with_name(f"{old}-{number}-{rest[-1]}")
    return str(wanted)
