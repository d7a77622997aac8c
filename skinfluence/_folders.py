"""Folders that appear under their names only once they are whole."""

import ctypes
import errno
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from ._files import PART, damaged, is_link, sync_folder, writing
from ._values import check_boolean
from .exceptions import TrajectoryFileError, TrajectoryInUseError

try:
    import fcntl

    _LOCKS = True
except ImportError:  # on Windows, where the leftovers of killed processes stay
    _LOCKS = False

_OLD = ".old"
_LONGEST = 200  # of the 255 bytes that most file systems allow


@contextmanager
def new_folder(
    path: Path, check: Callable[[Path], object], *, overwrite: bool = False
) -> Iterator[Path]:
    """Yield a folder to be filled, which takes its name once it is whole.

    At every moment there is the old folder under this name or the new one, where the
    system can exchange two names in one step. Elsewhere a process may be killed between
    two renames: :func:`settled` then puts the old folder back.

    Parameters
    ----------
    path : Path
        The folder; if it is a link, the one to which it leads.
    check : callable
        Raises a `TrajectoryFileError` for a folder that must not be overwritten, a
        `TrajectoryInUseError` for one that must not be now.
    overwrite : bool
        Whether a folder with something in it is replaced, if it passes the check.
    """
    check_boolean("overwrite", overwrite)
    with writing(path):
        path = settled(path)
        _check_free(path, check, overwrite)
        path.parent.mkdir(parents=True, exist_ok=True)
        _clean(path)
        folder, descriptor = _hidden(path)
    try:
        with _named(folder, path):
            yield folder
        with writing(path):
            if path.exists():
                folder.chmod(stat.S_IMODE(path.stat().st_mode))
            sync_folder(folder)
            _put_in_place(folder, path)
            sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        _put_back(path)
        raise
    finally:
        os.close(descriptor)


@contextmanager
def _named(hidden: Path, path: Path) -> Iterator[None]:
    """Let errors tell of the folder that was asked for, and not of the hidden one."""
    try:
        yield
    except TrajectoryFileError as error:
        old, new = (repr(str(each))[1:-1] for each in (hidden, path))
        if old not in str(error):
            raise
        raise type(error)(str(error).replace(old, new)) from error.__cause__


def settled(path: Path) -> Path:
    """Return where a path leads; a folder that was being replaced is put back."""
    path = _real(path)
    _put_back(path)
    return path


def folder_to_read(path: Path) -> Path:
    """Return where a path leads, as :func:`settled` does; errors say what failed."""
    try:
        return settled(path)
    except OSError as error:
        raise TrajectoryFileError(
            f"The folder {str(path)!r} cannot be read: {error.strerror or error}. "
            "Grant permission to read it, or name another folder."
        ) from error


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError as error:  # links in a circle, before Python 3.13
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error


def _check_free(path: Path, check: Callable[[Path], object], overwrite: bool) -> None:
    """Refuse to replace what this library has not written, and the folder in use."""
    if not path.exists():
        return
    if path.is_dir() and _holds_working_folder(path):
        raise TrajectoryFileError(
            f"The folder {str(path)!r} must not be the working folder, or hold it: "
            "what is saved takes its place. Choose another one, such as one in it."
        )
    if path.is_dir() and not any(path.iterdir()):
        return
    if not overwrite:
        raise TrajectoryFileError(
            f"The folder {str(path)!r} must be new or empty. Choose another one, or "
            "pass overwrite=True to replace what was saved there."
        )
    try:
        check(path)
    except TrajectoryInUseError:
        raise
    except TrajectoryFileError as error:
        raise TrajectoryFileError(
            f"The folder {str(path)!r} must hold what was saved in the same way, and "
            "nothing else, to be overwritten. Choose another one, or remove it "
            "yourself."
        ) from error


def _holds_working_folder(path: Path) -> bool:
    try:
        here = Path.cwd().resolve()
    except FileNotFoundError:  # it has been removed
        return False
    return path in (here, *here.parents)


def refuse_others(folder: Path, is_ours: Callable[[str], object]) -> None:
    """Raise an error if a folder holds something with a name that is not ours."""
    for path in folder.iterdir():
        if not is_ours(path.name):
            raise damaged(path, "it is none of the files that were saved")


def _hidden(path: Path) -> tuple[Path, int]:
    """Make a folder beside another one, as open as that one at most, and lock it."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o777
    while True:
        folder = path.with_name(_beside(path.name))
        folder.mkdir(mode | stat.S_IRWXU)
        descriptor = _locked(folder)
        if descriptor is not None:
            return folder, descriptor


def _locked(folder: Path) -> int | None:
    """Return an open descriptor of a folder that nobody else has, or None."""
    if not _LOCKS:
        return os.open(os.devnull, os.O_RDONLY)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another process may have taken it for a leftover before it was locked.
        if os.path.samestat(os.fstat(descriptor), os.lstat(folder)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _clean(path: Path) -> None:
    """Remove what killed processes left when they wrote a folder of this name."""
    for folder in _hidden_beside(path, PART):
        if not _LOCKS or (descriptor := _locked(folder)) is None:
            continue
        try:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)
    for old in _hidden_beside(path, _OLD):
        if path.exists() and not old.with_suffix(PART).exists():
            shutil.rmtree(old, ignore_errors=True)


def _beside(name: str) -> str:
    """Return a name that nobody has, for what will take the given one."""
    return f".{_stem(name)}-{secrets.token_hex(4)}{PART}"


def _stem(name: str) -> str:
    """Return a name, or its digest if there would be no room for what is added."""
    written = os.fsencode(name)
    return name if len(written) <= _LONGEST else sha256(written).hexdigest()


def _hidden_beside(path: Path, suffix: str) -> list[Path]:
    """Return the folders that were to take another one's place, or had it."""
    name = re.compile(
        rf"\.{re.escape(_stem(path.name))}-[0-9a-f]{{8}}{re.escape(suffix)}"
    )
    try:
        names = [entry for entry in os.listdir(path.parent) if name.fullmatch(entry)]
    except OSError:
        return []
    found = [path.with_name(entry) for entry in names]
    return [folder for folder in found if folder.is_dir() and not is_link(folder)]


def _put_in_place(folder: Path, path: Path) -> None:
    if not path.exists():
        os.rename(folder, path)
        return
    if _exchanged(folder, path):
        shutil.rmtree(folder, ignore_errors=True)
        return
    os.rename(path, old := folder.with_suffix(_OLD))
    os.rename(folder, path)
    shutil.rmtree(old, ignore_errors=True)


def _put_back(path: Path) -> None:
    """Return a folder to its name, if its successor never took it."""
    if path.exists():
        return
    for old in _hidden_beside(path, _OLD):
        successor = old.with_suffix(PART)
        if successor.exists() and (descriptor := _locked(successor)) is not None:
            os.close(descriptor)
        elif successor.exists():
            continue  # it is about to take the name
        with suppress(OSError):
            os.rename(old, path)
            return


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step, where that is possible."""
    if not sys.platform.startswith("linux"):
        return False
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if not rename(here, os.fsencode(one), here, os.fsencode(other), exchange):
        return True
    error = ctypes.get_errno()
    if error in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return False  # an old kernel, or a file system that cannot
    raise OSError(error, os.strerror(error))
