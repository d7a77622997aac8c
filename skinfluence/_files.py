"""Files and folders that are written whole or not at all, with checksums."""

import json
import os
import secrets
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from .exceptions import TrajectoryFileError

PART = ".part"
"""Suffix of a file or folder that is still being written."""

_PREFIX = ".skinfluence-"

# Far more than the manifest of the longest run, and less than what fills the memory.
_SHEET_BYTES = 64 << 20

# A link may lead anywhere, and a pipe never ends.
_READ = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def checksum(data: bytes) -> str:
    """Return the CRC-32 of the data in hexadecimal."""
    return f"{zlib.crc32(data):08x}"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn an error of the system into one that names the folder."""
    try:
        yield
    except OSError as error:
        raise TrajectoryFileError(
            f"The folder {str(folder)!r} cannot be written: "
            f"{error.strerror or error}. Free some space, grant write permission, or "
            "choose another folder."
        ) from error


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of the data, which one call of the system may not."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def write_file(path: Path, data: bytes) -> None:
    """Put a file in place, whole and on the disk, or leave what was there."""
    with new_file(path) as file:
        write_all(file.fileno(), data)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to be filled, which takes its name once it is whole.

    It has the mode and the owner of the file that it replaces. A link is replaced, and
    not followed.
    """
    # Not made of the name, which may be as long as names can be.
    part = path.with_name(f"{_PREFIX}{secrets.token_hex(8)}{PART}")
    try:
        old = path.lstat() if path.is_file() and not is_link(path) else None
        # Nobody else reads it before it has the mode of the old one.
        descriptor = os.open(part, _NEW, 0o666 if old is None else 0o600)
        with open(descriptor, "wb") as file:
            if old is not None:
                with suppress(OSError, AttributeError):  # only root may give files away
                    os.fchown(descriptor, old.st_uid, old.st_gid)
                os.chmod(part, stat.S_IMODE(old.st_mode))
            yield file
            file.flush()
            os.fsync(descriptor)
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def is_part(name: str) -> bool:
    """Return whether a name is that of a file before it has its own."""
    return name.startswith(_PREFIX) and name.endswith(PART)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    if os.name == "nt":  # where folders cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every file system can; the file is there
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: Path, length: int, digest: str) -> bytes:
    """Return what is in a file, if it is what was written."""
    with reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size != length:
            raise damaged(path, f"it has {size} bytes, and had {length} when written")
        data = file.read(length)
    if checksum(data) != digest:
        raise damaged(path, "its checksum differs from that of what was written")
    return data


def read_any(path: Path, most: int | None = None) -> bytes:
    """Return what is in a file, of at most so many bytes."""
    with reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise damaged(path, f"it has {size} bytes, and may have {most}")
        return file.read(size)


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to read; errors of the system name it.

    Only a regular file is opened: no link, which may lead anywhere, and no pipe.
    """
    try:
        descriptor = os.open(path, _READ)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise damaged(path, "it is not a regular file")
            yield file
    except FileNotFoundError:
        raise damaged(path, "it is missing") from None
    except (OSError, MemoryError) as error:
        why = "it is a link" if is_link(path) else f"it cannot be read ({error})"
        raise damaged(path, why) from error


def is_link(path: Path) -> bool:
    """Return whether a path is a symbolic link, or a junction of Windows."""
    try:
        return path.is_symlink() or getattr(path, "is_junction", bool)()
    except OSError:
        return False


def damaged(path: Path, why: str) -> TrajectoryFileError:
    """Return the error of a file that is not what was written."""
    return TrajectoryFileError(
        f"The file {str(path)!r} cannot be used: {why}. Restore its folder from a "
        "copy, or record the run again."
    )


def sealed(content: Any) -> bytes:
    """Return content as JSON under its own checksum."""
    text = json.dumps(content)
    return f'{{"crc32": "{checksum(text.encode())}", "content": {text}}}\n'.encode()


def unsealed(path: Path, kind: str, version: int) -> Any:
    """Return the content of a file that :func:`sealed` made, of the given format."""
    data = read_any(path, _SHEET_BYTES)
    try:
        sheet = json.loads(data)
        content, digest = sheet["content"], sheet["crc32"]
        found = content["format"], content["version"]
        whole = checksum(json.dumps(content).encode()) == digest
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, f"it does not hold a {kind} ({error!r:.200})") from error
    if not whole:
        raise damaged(path, "its checksum differs from that of what was written")
    if found[0] != kind:
        raise damaged(path, f"it is of the format {found[0]!r:.80} and not a {kind}")
    if type(found[1]) is not int or found[1] < 1:
        raise damaged(path, f"its format has no version {found[1]!r:.80}")
    if found[1] > version:
        raise damaged(path, f"a newer skinfluence wrote it (format {found[1]})")
    return content
