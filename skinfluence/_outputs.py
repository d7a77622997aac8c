"""Files that a user names: tried before the work, and written whole after it.

A name stays what it is. A link goes on pointing at its file, a file keeps its mode, and
what is no file but a pipe or a device is written to.
"""

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from ._files import new_file

Place: TypeAlias = Path | int
"""Where a name leads: to a path that is no link, or to an open descriptor."""

# As much as shows that a disk is full, or a quota used up.
_TRIAL = bytes(2**16)
_MOST_LINKS = 40  # as many as Linux follows


def is_stream(path: Path) -> bool:
    """Return whether a name leads to a pipe, a device or an open descriptor."""
    try:
        return _is_stream(_place(path))
    except OSError:  # such as of a name that is too long, which writing tells
        return False


def is_stdout(path: Path) -> bool:
    """Return whether a name leads to where the standard output goes."""
    try:
        place = _place(path)
        return place == 1 or (
            _is_stream(place) and os.path.samestat(os.stat(place), os.fstat(1))
        )
    except OSError:
        return False


def check_output(path: Path) -> None:
    """Raise the OSError that writing would end in, as far as it can be told before."""
    place = _place(path)
    if isinstance(place, int):
        os.fstat(place)
    elif place.exists() and not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    elif not _is_stream(place):
        with suppress(_TriedError), new_file(place) as file:
            file.write(_TRIAL)
            file.flush()
            os.fsync(file.fileno())
            raise _TriedError


@contextmanager
def new_output(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to be filled; once it is whole it is what the name leads to."""
    place = _place(path)
    if _is_stream(place):
        with tempfile.TemporaryFile() as file:
            yield cast(BinaryIO, file)
            file.seek(0)
            with open(_opened(place), "wb") as stream:
                shutil.copyfileobj(file, stream)
        return
    assert isinstance(place, Path)
    with new_file(place) as file:
        yield file


class _TriedError(Exception):
    """Ends the trial of a file, which is removed."""


def _is_stream(place: Place) -> bool:
    if isinstance(place, int):
        return True
    try:
        mode = place.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _opened(place: Place) -> int:
    """Return a descriptor that writes on from where an open one is."""
    return os.dup(place) if isinstance(place, int) else os.open(place, os.O_WRONLY)


def _place(path: Path) -> Place:
    """Follow the links of a name, up to an open descriptor if it is one."""
    # /dev/stdout may be a file, which must not be replaced under the open descriptor.
    for _ in range(_MOST_LINKS):
        folder = os.path.realpath(path.parent)
        own = re.fullmatch(rf"/dev/fd|/proc/{os.getpid()}/fd", folder)
        if own and path.name.isdigit():
            return int(path.name)
        path = Path(folder, path.name)
        if not path.is_symlink():
            return path
        path = path.parent / os.readlink(path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
