"""Files that are to be written: they must be new, and have a folder to be in."""

from pathlib import Path

from ..exceptions import TableError


def check_new(path: Path, force: bool) -> None:
    """Refuse a path that cannot be written, or where there is a file already."""
    if path.is_dir():
        raise TableError(f"{str(path)!r} is a folder: name a file.")
    if path.exists() and not force:
        raise TableError(
            f"The file {str(path)!r} exists: pass --force to replace it, or name "
            "another one."
        )
    if not path.parent.is_dir():
        raise TableError(f"There is no folder {str(path.parent)!r} to write to.")
