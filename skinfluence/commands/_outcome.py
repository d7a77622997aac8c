"""The end of a command: a file, and what to say once it is written."""

from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from .._outputs import check_output, is_stream
from ..exceptions import TableError


class Outcome(NamedTuple):
    """What is left to do when all has been computed."""

    write: Callable[[], None]
    lines: Sequence[str]
    exit_code: int = 0


Command: TypeAlias = Generator[str, None, Outcome]
"""Yields what to say before and during the work."""


def check_new(path: Path, force: bool) -> None:
    """Refuse a path that cannot be written, or a file that exists already."""
    try:
        if path.is_dir():
            raise TableError(f"{str(path)!r} is a folder: name a file.")
        if path.exists() and not force and not is_stream(path):
            raise TableError(
                f"The file {str(path)!r} exists: pass --force to replace it, or name "
                "another one."
            )
        if not path.parent.is_dir():
            raise TableError(f"There is no folder {str(path.parent)!r} to write to.")
        check_output(path)
    except OSError as error:
        raise unwritable(path, error) from error


def check_apart(
    option: str, path: Path, others: Iterable[tuple[str, Path | None]]
) -> None:
    """Refuse an output that would replace another file, each named by what it is."""
    for what, other in others:
        if other is not None and same_file(path, other):
            raise TableError(
                f"{option} must name another file than {what} {other.name!r}, which it "
                f"would replace, got {str(path)!r}."
            )


def same_file(one: Path, other: Path) -> bool:
    """Return whether two names lead to one file, or would once it is there."""
    try:
        return one.samefile(other)
    except OSError:  # one that is missing is told when it is read
        return one.resolve() == other.resolve()


def unwritable(path: Path, error: OSError) -> TableError:
    """Return the error of a file that cannot be written."""
    return TableError(
        f"The file {str(path)!r} cannot be written: {error.strerror or error}. Free "
        "some space, grant write permission, or name another file."
    )
