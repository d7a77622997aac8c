"""Saving a trajectory to a folder, and loading it from there."""

from pathlib import Path

import torch

from ..._files import new_folder
from .._trajectory import Trajectory
from .journal import read_journal
from .manifest import described, read_manifest, take_final
from .shards import SavedStates
from .store import DiskStore


def save(trajectory: Trajectory, path: str | Path, *, overwrite: bool) -> None:
    """Write a trajectory into a new folder."""
    with new_folder(Path(path).absolute(), overwrite=overwrite) as folder:
        copy = Trajectory(
            trajectory.seed,
            trajectory.keep_epochs,
            list(trajectory.addresses),
            list(trajectory.untrained),
            flaws=dict(trajectory.flaws),
            diverged_at=trajectory.diverged_at,
            n_samples=trajectory.n_samples,
            interval=trajectory.interval,
            max_bytes=trajectory.max_bytes,
            anchors=set(trajectory.anchors),
        )
        copy._oldest = trajectory._oldest
        store = DiskStore.create(folder, copy)
        try:
            for record in trajectory.records:
                copy.records.append(record)
            for step, state in trajectory._store.items():
                store[step] = state
            copy.final = trajectory.final
        finally:
            store.close()
    reread(trajectory, path)


def reread(trajectory: Trajectory, path: str | Path) -> None:
    """Let a loaded trajectory read its states anew where it was just saved.

    Its folder may have been replaced, and its states lie in other files now.
    """
    folder, store = Path(path).absolute(), trajectory._store
    if type(store) is SavedStates and store._folder == folder:
        trajectory._store = load(folder, store._device)._store


def load(path: str | Path, device: torch.device | str) -> Trajectory:
    """Return the trajectory in a folder, whose states are read when asked for."""
    folder = Path(path).absolute()
    manifest = read_manifest(folder)
    content = read_journal(folder, manifest["journal_bytes"])
    trajectory, shards = described(folder, manifest, content)
    trajectory._store = SavedStates(folder, shards, device)
    trajectory.untrained = [tensor.to(device) for tensor in trajectory.untrained]
    take_final(trajectory)
    return trajectory
