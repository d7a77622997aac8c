"""The manifest of a run on disk, and the run that it and the journal tell of."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..._files import read_file, sealed, unsealed
from ..._version import __version__
from .._trajectory import Trajectory
from .format import tensors_from_bytes
from .journal import JournalContent
from .shards import Shard

MANIFEST = "manifest.json"
FORMAT, VERSION = "skinfluence trajectory", 1


def manifest_bytes(
    run: Trajectory,
    journal_bytes: int,
    entries: list[dict[str, Any]],
    about: dict[str, Any],
    finished: bool,
) -> bytes:
    """Return the manifest of a run."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "written_by": {"skinfluence": __version__, "torch": torch.__version__},
        "about": about,
        "finished": finished,
        "run": {"seed": run.seed, "keep_epochs": run.keep_epochs},
        "journal_bytes": journal_bytes,
        "shards": entries,
    }
    return sealed(content)


def read_manifest(folder: Path) -> Any:
    """Return what the manifest of a run says."""
    return unsealed(folder / MANIFEST, FORMAT, VERSION)


def described(
    folder: Path, manifest: Any, content: JournalContent
) -> tuple[Trajectory, list[Shard]]:
    """Return the run that manifest and journal tell of, and the files of its states."""
    run = content.run
    untrained: list[Tensor] = []
    if run:
        entry = run["untrained"]
        data = read_file(folder / entry["file"], entry["bytes"], entry["crc32"])
        untrained = list(_numbered(tensors_from_bytes(data)[0]))
    trajectory = Trajectory(
        **manifest["run"],
        addresses=[(group, index) for group, index in run.get("addresses", ())],
        untrained=untrained,
        records=content.records,
        flaws=content.flaws,
        diverged_at=run.get("diverged_at"),
        n_samples=run.get("n_samples", 0),
        interval=run.get("interval", 1),
        max_bytes=run.get("max_bytes"),
        anchors=content.anchors,
    )
    trajectory._oldest = run.get("oldest", 0)
    return trajectory, [Shard.from_entry(entry) for entry in manifest["shards"]]


def _numbered(tensors: dict[str, Tensor]) -> list[Tensor]:
    return [tensors[str(k)] for k in range(len(tensors))]


def take_final(trajectory: Trajectory) -> None:
    """Let the final state be the trajectory's own; a killed run has none."""
    trajectory.final = trajectory._store.pop(trajectory.n_steps, None)
