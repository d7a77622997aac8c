"""The manifest of a run: what its files are, with their checksums."""

from pathlib import Path
from typing import Any

import torch

from ..._files import read_file, sealed, unsealed
from ..._version import __version__
from .._facts import RunFacts
from .format import tensors_from_bytes
from .journal import JournalContent, read_journal
from .shards import Shard

MANIFEST = "manifest.json"
FORMAT, VERSION = "skinfluence trajectory", 2


def manifest_bytes(
    run: dict[str, Any],
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
        "run": run,
        "journal_bytes": journal_bytes,
        "shards": entries,
    }
    return sealed(content)


def read_manifest(folder: Path) -> Any:
    """Return what the manifest of a run says."""
    return unsealed(folder / MANIFEST, FORMAT, VERSION)


def read_run(folder: Path, manifest: Any) -> tuple[JournalContent, list[Shard]]:
    """Return what the journal says of a run, and the files of its states."""
    facts = RunFacts(**manifest["run"])
    content = read_journal(folder, facts, manifest["journal_bytes"])
    if entry := content.untrained:
        data = read_file(folder / entry["file"], entry["bytes"], entry["crc32"])
        tensors, _ = tensors_from_bytes(data)
        facts.untrained = [tensors[str(k)] for k in range(len(tensors))]
    return content, [Shard.from_entry(entry) for entry in manifest["shards"]]
