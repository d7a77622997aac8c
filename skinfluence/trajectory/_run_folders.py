"""Runs in folders of their own, side by side in one folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._files import writing
from ._disk.manifest import read_manifest
from ._disk.store import DiskStore
from ._trajectory import Trajectory


def begin_run(parent: Path, run: Trajectory, about: dict[str, Any]) -> Trajectory:
    """Record a run without steps in the next free folder.

    Parameters
    ----------
    parent : Path
        Where the folders ``run-000001``, ``run-000002``, ... are, or will be.
    run : Trajectory
        The run.
    about : dict
        What the manifest says of where the run comes from, as JSON.
    """
    with writing(parent):
        parent.mkdir(parents=True, exist_ok=True)
        folder = _next_folder(parent)
    try:
        run._store = DiskStore.create(folder, run, about)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return run


def reopen_run(run: Trajectory) -> Trajectory:
    """Return a run to which steps can be added, reopened if it is on disk."""
    if isinstance(run._store, DiskStore):
        return reopened(run._store.folder)
    return run


def close_run(run: Trajectory, *, finished: bool = True) -> None:
    """Write all of a run to the disk; one without steps leaves no folder."""
    if not isinstance(run._store, DiskStore):
        return
    run._store.close(run, run.final, finished=finished)
    if not run.records:
        shutil.rmtree(run._store.folder, ignore_errors=True)


def recorded_runs(parent: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folders of runs, the newest first, and what their manifests say."""
    for folder in reversed(_folders(parent)):
        yield folder, read_manifest(folder)


def reopened(folder: Path) -> Trajectory:
    """Return the run in a folder, from where it was closed or killed."""
    return Trajectory._of(*DiskStore.reopen(folder))


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.glob("run-*") if path.name[4:].isdigit())


def _next_folder(parent: Path) -> Path:
    """Make a folder; other processes may be doing so at the same time."""
    number = max((int(path.name[4:]) for path in _folders(parent)), default=0)
    while True:
        number += 1
        try:
            (folder := parent / f"run-{number:06d}").mkdir()
        except FileExistsError:
            continue
        return folder
