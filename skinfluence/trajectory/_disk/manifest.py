"""The manifest of a run: what its files are, with their checksums."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..._files import damaged, read_file, sealed, unsealed
from ..._version import __version__
from .._facts import RunFacts
from .checks import bare_name, count, text
from .format import tensors_from_bytes
from .journal import JOURNAL, JournalContent, read_journal
from .shards import Shard

MANIFEST = "manifest.json"
FORMAT, VERSION = "skinfluence trajectory", 2

UNTRAINED = re.compile(r"untrained-\d{6,12}\.safetensors")
"""Names of the files with the values before parameters are first trained."""


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
    """Return what the manifest of a run says, if it says all."""
    path = folder / MANIFEST
    manifest = unsealed(path, FORMAT, VERSION)
    try:
        run, kept = manifest["run"], manifest["run"]["keep_epochs"]
        known = run.keys() == {"seed", "keep_epochs"} and type(run["seed"]) is int
        if not known or (kept is not None and count(kept) < 1):
            raise ValueError(f"the run {run!r:.80}")
        for name, kind in (("about", dict), ("finished", bool), ("shards", list)):
            if not isinstance(manifest[name], kind):
                raise ValueError(f"{name}={manifest[name]!r:.80}")
        count(manifest["journal_bytes"])
        for entry in manifest["shards"]:
            Shard.from_entry({**entry, "states": []}, 0)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        why = f"it does not tell the files of a run ({error!r:.200})"
        raise damaged(path, why) from error
    return manifest


def read_run(folder: Path, manifest: Any) -> tuple[JournalContent, list[Shard]]:
    """Return what the journal says of a run, and the files of its states."""
    facts = RunFacts(**manifest["run"])
    content = read_journal(folder, facts, manifest["journal_bytes"])
    if content.untrained:
        facts.untrained = _read_untrained(folder, content.untrained)
    try:
        n_steps = len(content.records)
        shards = [Shard.from_entry(entry, n_steps) for entry in manifest["shards"]]
    except (KeyError, TypeError, ValueError) as error:
        why = f"it does not tell the states of the run ({error!r:.200})"
        raise damaged(folder / MANIFEST, why) from error
    return content, shards


def _read_untrained(folder: Path, entry: Any) -> list[Tensor]:
    try:
        name = bare_name(entry["file"], UNTRAINED)
        length, digest = count(entry["bytes"]), text(entry["crc32"])
        number = count(entry["count"])
    except (KeyError, TypeError, ValueError) as error:
        why = f"it does not tell the file of untrained values ({error!r:.200})"
        raise damaged(folder / JOURNAL, why) from error
    data = read_file(folder / name, length, digest)
    try:
        tensors, _ = tensors_from_bytes(data)
        return [tensors[str(k)] for k in range(number)]
    except Exception as error:  # safetensors has no error of its own
        why = f"it is not a file of tensors ({error!r:.200})"
        raise damaged(folder / name, why) from error
