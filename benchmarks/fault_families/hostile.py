"""Files and folders made to do harm: to write elsewhere, to run code, to use up memory.

An attack replaces or forges a file of what :mod:`.corruptions` reads. It knows how
checksums are computed, so only what the file says is left to be refused.
"""

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from skinfluence import SGDInfluenceClassifier, Trajectory
from skinfluence._files import checksum, sealed
from skinfluence.exceptions import SkinfluenceError

from . import Family, Outcome
from .corruptions import ARTEFACTS, CASE, digest
from .forks import Answer, Fork, limited
from .kills import bits

SECONDS, MEMORY = 10.0, 1 << 30

REFUSED, HARMLESS = "refused", "without effect"
ACCEPTED, OUTSIDE, GREEDY = "accepted", "changed files outside", "too much memory"


class Attack(NamedTuple):
    """What is done to an artefact.

    Attributes
    ----------
    kind : str
        The artefact.
    fault : str
        The sort of attack.
    harm : callable
        ``harm(place, outside)`` changes the artefact in a folder; `outside` is another
        folder, which must not change.
    """

    kind: str
    fault: str
    harm: Callable[[Path, Path], Any]


# Files that are replaced


class Touch:
    """Unpickled, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@cache
def _bomb() -> bytes:
    """Return 4 GB of zeros as an archive of a few MB."""
    archived = io.BytesIO()
    with zipfile.ZipFile(archived, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb:
        for name in ("schema.json", "0.npy"):
            with bomb.open(name, "w", force_zip64=True) as part:
                for _ in range(128):
                    part.write(bytes(1 << 24))
    return archived.getvalue()


REPLACEMENTS: dict[str, Callable[[Path, Path], Any]] = {
    "link outside": lambda file, outside: file.symlink_to(outside / "mine"),
    "dangling link": lambda file, outside: file.symlink_to(outside / "new"),
    "link to itself": lambda file, _: file.symlink_to(file),
    "endless device": lambda file, _: file.symlink_to("/dev/zero"),
    "FIFO": lambda file, _: os.mkfifo(file),
    "folder": lambda file, _: file.mkdir(),
    "pickle": lambda file, outside: file.write_bytes(
        pickle.dumps(Touch(outside / "executed"))
    ),
    "endless nesting": lambda file, _: file.write_text("[" * 100_000),
    "zip bomb": lambda file, _: file.write_bytes(_bomb()),
    "huge header": lambda file, _: file.write_bytes((1 << 60).to_bytes(8, "little")),
}


def replaced(name: str, how: str, place: Path, outside: Path) -> None:
    """Replace a file."""
    (place / name).unlink(missing_ok=True)
    REPLACEMENTS[how](place / name, outside)
    _count(place, name)


def _count(place: Path, name: str) -> None:
    """Renew the checksum of an estimator's file."""
    manifest, inner = place / "estimator/manifest.json", name.partition("/")[2]
    # Not of links, whose other end may have none.
    if name == "estimator/manifest.json" or not manifest.is_file():
        return
    if not (place / name).is_file() or (place / name).is_symlink():
        return
    content = json.loads(manifest.read_bytes())["content"]
    if inner in content["files"]:
        data = (place / name).read_bytes()
        content["files"][inner] = {"bytes": len(data), "crc32": checksum(data)}
        manifest.write_bytes(sealed(content))


# Manifests and journals that are forged

VALUES = {
    "nothing": None,
    "a text": "x",
    "-5": -5,
    "NaN": float("nan"),
    "10^15": 10**15,
    "a list": [1],
    "a dict": {"x": 1},
}
NAMES = (
    "../../outside/mine",
    "{outside}/mine",
    "states-000001.safetensors/../../outside/mine",
    "manifest.json",
    "..",
    "",
    "states-\0.safetensors",
    "states-" + 5000 * "0",
)


def forged(
    name: str, path: tuple[Any, ...], value: Any, place: Path, outside: Path
) -> None:
    """Change what a manifest says, by the path to it; `...` removes it."""
    file = place / name
    content = json.loads(file.read_bytes())["content"]
    *way, last = path
    holder = content
    for key in way:
        holder = holder[key]
    if value is ...:
        del holder[last]
    else:
        is_text = isinstance(value, str)
        holder[last] = value.format(outside=outside) if is_text else value
    file.write_bytes(sealed(content))
    _count(place, name)


def useless(name: str, path: str, place: Path, outside: Path) -> None:
    """Let a run have a file without states, which is removed when the run goes on."""
    content = json.loads((place / name).read_bytes())["content"]
    entry = {**content["shards"][0], "file": path.format(outside=outside), "states": []}
    forged(name, ("shards",), [*content["shards"], entry], place, outside)


def journaled(name: str, change: Any, place: Path, outside: Path) -> None:
    """Change what the first line of a journal says."""
    file = place / name
    first, *others = file.read_bytes().splitlines()
    line = json.loads(first.partition(b" ")[2])
    change(line, outside)
    text = json.dumps(line).encode()
    lines = [checksum(text).encode() + b" " + text, *others]
    file.write_bytes(b"\n".join(lines) + b"\n")
    manifest = file.with_name("manifest.json")
    content = json.loads(manifest.read_bytes())["content"]
    content["journal_bytes"] = file.stat().st_size
    manifest.write_bytes(sealed(content))
    for each in ("manifest.json", "journal.jsonl"):
        _count(place, str((file.parent / each).relative_to(place)))


def _untrained(file: str, line: Any, outside: Path) -> None:
    line["untrained"]["file"] = file.format(outside=outside)


def _without(key: str, line: Any, outside: Path) -> None:
    del line[key]


RANGES = {
    "10^9 states": [[0, 10**9, 1, 8]],
    "a stride of 0": [[0, 5, 0, 8]],
    "negative states": [[-5, 5, 1, 8]],
    "a state twice": [[0, 5, 1, 8], [0, 5, 1, 8]],
    "states of NaN bytes": [[0, 5, 1, float("nan")]],
    "no ranges": 7,
}


def _of_runs(kind: str, run: str) -> Iterator[Attack]:
    """Yield attacks on the manifest and journal of a run."""
    manifest, journal = f"{run}/manifest.json", f"{run}/journal.jsonl"
    for name in NAMES:
        entry = ("shards", 0, "file")
        yield Attack(kind, "path in a name", partial(forged, manifest, entry, name))
        yield Attack(kind, "path in a name", partial(useless, manifest, name))
        change = partial(_untrained, name)
        yield Attack(kind, "path in a name", partial(journaled, journal, change))
    for value in RANGES.values():
        entry = ("shards", 0, "states")
        yield Attack(kind, "declared states", partial(forged, manifest, entry, value))
    for key in ("untrained", "addresses", "flaws"):
        change = partial(_without, key)
        yield Attack(kind, "missing value", partial(journaled, journal, change))
    keys = ("version", "format", "run", "shards", "journal_bytes", "about", "finished")
    yield from _of_keys(kind, manifest, keys)


def _of_keys(kind: str, manifest: str, keys: tuple[str, ...]) -> Iterator[Attack]:
    for key in keys:
        yield Attack(kind, "missing value", partial(forged, manifest, (key,), ...))
        for value in VALUES.values():
            fault = "wrong version" if key == "version" else "wrong value"
            yield Attack(kind, fault, partial(forged, manifest, (key,), value))


def attacks(files: dict[str, list[str]]) -> Iterator[Attack]:
    """Yield all attacks, given the names of the files of each kind."""
    for kind, names in files.items():
        for name in names:
            for how in REPLACEMENTS:
                yield Attack(kind, how, partial(replaced, name, how))
    for kind in ("run on disk, loaded", "run on disk, resumed"):
        yield from _of_runs(kind, "run-000001")
    yield from _of_runs("saved estimator", "estimator/trajectory")
    yield from _of_keys(
        "saved estimator", "estimator/manifest.json", ("version", "format", "files")
    )
    for kind in OVERWRITTEN:
        for form in FOREIGN:
            yield Attack(kind, f"over {form}", FOREIGN[form])


# Folders in the way of what is saved


def _user_folder(place: Path, outside: Path) -> None:
    (place / "target").mkdir()
    (place / "target" / "thesis.txt").write_text("mine")


def _linked_folder(place: Path, outside: Path) -> None:
    (place / "target").symlink_to(outside)


FOREIGN = {"a user's folder": _user_folder, "a linked folder": _linked_folder}


def _overwrite(save: Callable[[Path], Any], place: Path) -> Any:
    """Save over a folder, which must be refused."""
    save(place / "target")
    return "saved"


OVERWRITTEN: dict[str, Callable[[Path], Any]] = {
    "Trajectory.save": partial(
        _overwrite, lambda path: Trajectory(0).save(path, overwrite=True)
    ),
    "estimator.save": partial(
        _overwrite, lambda path: SGDInfluenceClassifier().save(path, overwrite=True)
    ),
}


def contents(folder: Path) -> dict[str, Any]:
    """Return what is in a folder, with modes; of none, nothing."""
    return {
        str(path): (path.lstat().st_mode, path.is_file() and path.read_bytes())
        for path in sorted([folder, *folder.rglob("*")])
        if os.path.lexists(path)
    }


def outcome(read: Callable[[Path], Any], place: Path, expected: str) -> Answer:
    """Read what was attacked; return what came of it."""
    peak = limited(3 * MEMORY)
    try:
        found = digest(read(place))
        answer = [HARMLESS if found == expected else ACCEPTED, ""]
    except SkinfluenceError as error:
        answer = [REFUSED, str(error)[:100]]
    return [GREEDY, f"{peak() >> 20} MB"] if peak() > MEMORY else answer


def struck(
    attack: Attack, read: Any, place: Path, outside: Path, expected: str
) -> Outcome:
    """Carry out an attack."""
    attack.harm(place, outside)
    users = (outside, place / "target")
    before = [contents(folder) for folder in users]
    found, detail = Fork(outcome, read, place, expected).answer(SECONDS)
    # A run of no version is passed over when one is resumed, and nothing else is read.
    passed_over = attack.kind == "run on disk, resumed"
    if [contents(folder) for folder in users] != before:
        found = OUTSIDE
    elif found == HARMLESS and attack.fault == "wrong version" and not passed_over:
        found = ACCEPTED
    harm = str(getattr(attack.harm, "args", ""))
    return Outcome(attack.kind, attack.fault, found, f"{harm} {detail}")


def run(n: int, rng: np.random.Generator, folder: Path) -> Iterator[Outcome]:
    """Yield the outcomes of attacks, drawn from all of them."""
    bits(CASE.fitted())
    place, outside = folder / "place", folder / "outside"
    reads, expected, files = dict(OVERWRITTEN), dict.fromkeys(OVERWRITTEN, ""), {}
    for kind, artefact in ARTEFACTS.items():
        (whole := folder / kind).mkdir()
        artefact.write(whole, 0)
        found = [path for path in sorted(whole.rglob("*")) if path.is_file()]
        files[kind] = [str(path.relative_to(whole)) for path in found]
        if kind.startswith("decisions"):
            files[kind] = [f"decisions.{kind[-4:].strip().lower()}"]
        reads[kind] = artefact.read
        shutil.copytree(whole, place)
        expected[kind] = digest(artefact.read(place))
        shutil.rmtree(place)
    files["run on disk, resumed"].append("run-000001/lock")
    every = list(attacks(files))
    for number in rng.permutation(len(every))[:n]:
        attack = every[number]
        outside.mkdir()
        (outside / "mine").write_text("mine")
        if attack.kind in ARTEFACTS:
            shutil.copytree(folder / attack.kind, place)
        else:
            place.mkdir()
        yield struck(attack, reads[attack.kind], place, outside, expected[attack.kind])
        for path in (place, outside):
            shutil.rmtree(path)


FAMILY = Family(run, 200, (REFUSED, HARMLESS))
