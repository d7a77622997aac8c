"""Runs in folders of their own, side by side in one folder."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from .._files import sync_folder, writing
from ..exceptions import TrajectoryFileError
from ._disk.ownership import in_use, is_blank
from ._disk.store import DiskStore
from ._trajectory import Trajectory


def begin_run(
    parent: Path, run: Trajectory, about: dict[str, Any], device: torch.device | str
) -> Trajectory:
    """Record a run without steps in the next free folder.

    Parameters
    ----------
    parent : Path
        Where the folders ``run-000001``, ``run-000002``, ... are, or will be.
    run : Trajectory
        The run.
    about : dict
        What the manifest says of where the run comes from, as JSON.
    device : torch.device or str
        Where its states are.
    """
    with writing(parent):
        parent.mkdir(parents=True, exist_ok=True)
        folder = _next_folder(parent)
    try:
        run._store = DiskStore.create(folder, run, about, device)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return run


def reopen_run(run: Trajectory) -> Trajectory:
    """Return a run to which steps can be added, reopened if it is on disk."""
    if isinstance(run._store, DiskStore):
        return _same(run, reopened(run._store.folder, run._store._device))
    return run


def close_run(run: Trajectory, *, finished: bool = True) -> None:
    """Write all of a run to the disk; one without steps leaves no folder."""
    if not isinstance(run._store, DiskStore):
        return
    if run.records:
        run._store.close(run, run.final, finished=finished)
    else:
        run._store.remove()


def run_folders(parent: Path) -> Iterator[Path]:
    """Yield the folders of runs, the newest first."""
    with writing(parent):  # as will be done where no run goes on
        numbered = _numbered(parent) if parent.is_dir() else []
    yield from (folder for _, folder in sorted(numbered, reverse=True))


def is_starting(folder: Path) -> bool:
    """Return whether a run in a folder begins or goes on now, or has no step yet.

    Such a folder may lack files, or change while it is read.
    """
    return is_blank(folder) or in_use(folder)


def reopened(folder: Path, device: torch.device | str = "cpu") -> Trajectory:
    """Return the run in a folder, from where it was closed or killed."""
    return Trajectory._of(*DiskStore.reopen(folder, device))


def _same(ours: Trajectory, run: Trajectory) -> Trajectory:
    """Return a reopened run, if it is still the one that was recorded."""
    assert isinstance(run._store, DiskStore)
    if (run.seed, run.n_steps) == (ours.seed, ours.n_steps):
        return run
    run._store.release()
    raise TrajectoryFileError(
        f"The run in {str(run._store.folder)!r} must be the one with the "
        f"{ours.n_steps} steps that this estimator recorded, got one with "
        f"{run.n_steps} steps, from another fit. Continue the estimator of that fit, "
        "or fit this one again."
    )


def resumed(folder: Path, device: torch.device | str) -> Trajectory:
    """Return the run in a folder, cut back to its last state on the disk."""
    run = reopened(folder, device)
    assert isinstance(run._store, DiskStore)
    try:
        if run.records:
            run.state(run.kept[0])  # what a resumed run is compared with
            run.truncate(run.kept[-1])
    except BaseException:
        run._store.release()
        raise
    return run


def _numbered(parent: Path) -> list[tuple[int, Path]]:
    names = ((re.fullmatch("run-([0-9]{6,18})", p.name), p) for p in parent.iterdir())
    return [(int(name[1]), path) for name, path in names if name and path.is_dir()]


def _next_folder(parent: Path) -> Path:
    """Make a folder; other processes may be doing so at the same time."""
    number = max((number for number, _ in _numbered(parent)), default=0)
    while True:
        number += 1
        try:
            (folder := parent / f"run-{number:06d}").mkdir()
        except FileExistsError:
            continue
        sync_folder(parent)
        return folder
