"""A whole run written to a folder, and read from there."""

from collections.abc import Sequence
from pathlib import Path

import torch

from ..._folders import folder_to_read, new_folder
from ..._values import check_path
from ...training import State, StepRecord, check_device
from .._facts import RunFacts
from .._store import StateStore
from .manifest import read_manifest, read_run
from .ownership import LOCK, check_replaceable
from .shards import SavedStates
from .store import DiskStore


def save(
    facts: RunFacts,
    records: Sequence[StepRecord],
    states: StateStore,
    final: State | None,
    path: str | Path,
    *,
    overwrite: bool,
) -> None:
    """Write a run into a new folder."""
    place = check_path("path", path)
    with new_folder(place, check_replaceable, overwrite=overwrite) as folder:
        store = DiskStore.create(folder, facts)
        try:
            for record in records:
                store.note(record, facts)
            for step, state in states.items():
                store[step] = state
        finally:
            store.close(facts, final)
            (folder / LOCK).unlink(missing_ok=True)  # nobody else knows this folder


def load(
    path: str | Path, device: torch.device | str
) -> tuple[RunFacts, list[StepRecord], SavedStates]:
    """Return the run in a folder, whose states are read when they are asked for."""
    check_device(device)
    folder = folder_to_read(check_path("path", path))
    content, shards = read_run(folder, read_manifest(folder))
    content.facts.untrained = [x.to(device) for x in content.facts.untrained]
    return content.facts, content.records, SavedStates(folder, shards, device)
