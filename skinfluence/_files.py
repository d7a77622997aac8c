"""Files and folders that are written whole or not at all, with checksums."""

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .exceptions import TrajectoryFileError

PART = ".part"
"""Suffix of a file that is still being written."""


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
    with _replacing(path) as part:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        descriptor = os.open(part, flags, 0o666)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield where to write what takes a file's place once it is whole."""
    part = path.with_name(path.name + PART)
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    if os.name == "nt":  # where folders cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: Path, length: int, digest: str) -> bytes:
    """Return what is in a file, if it is what was written."""
    data = read_any(path)
    if len(data) != length:
        raise damaged(path, f"it has {len(data)} bytes, and had {length} when written")
    if checksum(data) != digest:
        raise damaged(path, "its checksum differs from that of what was written")
    return data


def read_any(path: Path) -> bytes:
    """Return what is in a file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise damaged(path, "it is missing") from None
    except OSError as error:
        raise damaged(path, f"it cannot be read ({error.strerror})") from error


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
    data = read_any(path)
    try:
        sheet = json.loads(data)
        content, digest = sheet["content"], sheet["crc32"]
        found = content["format"], content["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, f"it does not hold a {kind} ({error!r})") from error
    if checksum(json.dumps(content).encode()) != digest:
        raise damaged(path, "its checksum differs from that of what was written")
    if found[0] != kind:
        raise damaged(path, f"it is of the format {found[0]!r} and not a {kind}")
    if found[1] > version:
        raise damaged(path, f"a newer skinfluence wrote it (format {found[1]})")
    return content


@contextmanager
def new_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a folder to be filled, which takes its name once it is whole."""
    if path.exists() and not overwrite:
        raise TrajectoryFileError(
            f"The folder {str(path)!r} must not exist yet. Choose another one, or pass "
            "overwrite=True to replace it."
        )
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield folder
        with writing(path):
            folder.chmod(0o777 & ~_umask())
            sync_folder(folder)
            _put_in_place(folder, path)
            sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _put_in_place(folder: Path, path: Path) -> None:
    if not path.exists():
        os.rename(folder, path)
        return
    old = folder.with_name(folder.name + "-old")
    os.rename(path, old)
    try:
        os.rename(folder, path)
    except BaseException:
        os.rename(old, path)
        raise
    shutil.rmtree(old) if old.is_dir() else old.unlink()


def _umask() -> int:
    # It can only be read by setting it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
