"""The lock of a folder: one run at a time writes into it."""

import os
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..._files import PART, damaged, is_link, is_part, writing
from ..._folders import refuse_others
from ...exceptions import TrajectoryFileError, TrajectoryInUseError
from .journal import JOURNAL
from .manifest import MANIFEST, UNTRAINED, read_manifest
from .shards import SHARD, Shard

LOCK = "lock"


def refuse_links(folder: Path) -> None:
    """Raise an error if a folder or something in it is a link: it may lead anywhere."""
    for path in (folder, *folder.iterdir()):
        if is_link(path):
            raise damaged(path, "it is a link")


def refuse_used(folder: Path) -> None:
    """Raise an error if a folder holds more than a stale lock or unfinished files."""
    names = {path.name for path in folder.iterdir()}
    used = {name for name in names if name != LOCK and not name.endswith(PART)}
    if used:
        what = "holds a run" if MANIFEST in used else f"holds {min(used)!r}"
        raise TrajectoryFileError(
            f"The folder {str(folder)!r} must be new or empty, but it {what}. Choose "
            "another one, or resume the run."
        )


def locked(folder: Path) -> FileLock:
    """Return the held lock of a folder, or raise an error if another run has it."""
    lock = FileLock(folder / LOCK)
    try:
        refuse_links(folder)
        lock.acquire(timeout=0)
    except Timeout:
        raise TrajectoryInUseError(
            f"The folder {str(folder)!r} must not be in use, but another run writes "
            "into it. Wait for it to end, or choose another folder."
        ) from None
    except OSError as error:
        with writing(folder):
            raise error
    return lock


def check_replaceable(folder: Path) -> None:
    """Raise an error if a folder holds more than a whole run, or a run under way."""
    read_manifest(folder)
    refuse_others(folder, is_ours)
    locked(folder).release()


def is_ours(name: str) -> bool:
    """Return whether a run has files of this name, while they are written too."""
    whole = name.removesuffix(PART)
    if whole in (MANIFEST, JOURNAL, LOCK) or SHARD.fullmatch(whole):
        return True
    return bool(UNTRAINED.fullmatch(whole) or is_part(name))


def in_use(folder: Path) -> bool:
    """Return whether another run has the lock of a folder."""
    try:
        locked(folder).release()
    except TrajectoryInUseError:
        return True
    except TrajectoryFileError:
        pass
    return False


def is_blank(folder: Path) -> bool:
    """Return whether a folder is gone, or its run was killed before its first step."""
    return not any(os.path.lexists(folder / name) for name in (MANIFEST, JOURNAL))


def remove_strays(
    folder: Path, shards: list[Shard], untrained: dict[str, Any] | None
) -> None:
    """Remove files that were not yet part of the run when it was killed."""
    known = {MANIFEST, JOURNAL, LOCK, *(shard.file for shard in shards)}
    if untrained is not None:
        known.add(untrained["file"])
    for path in folder.iterdir():
        if is_ours(path.name) and path.name not in known:
            path.unlink(missing_ok=True)
