"""Files of every kind that the library reads again, damaged at random."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skinfluence import InfluenceCleaner, Trajectory, load_estimator
from skinfluence._files import checksum
from skinfluence.cleaning import data_fingerprint, read_decisions
from skinfluence.exceptions import SkinfluenceError
from skinfluence.trajectory import to_json
from tests.cases import Case, batch_norm

from . import Family, Outcome, shares
from .forks import Answer, Fork, limited
from .kills import bits

CASE = Case("batch_norm", "adam")
MEMORY = 2 << 30

NAMED, HARMLESS, UNNAMED, OTHER = (
    "named",
    "harmless",
    "not named",
    "silently other values",
)


class Artefact(NamedTuple):
    """What the library writes and reads.

    Attributes
    ----------
    write : callable
        ``write(folder, seed)`` writes it, with other values for another seed.
    read : callable
        ``read(folder)`` returns its values.
    """

    write: Callable[[Path, int], Any]
    read: Callable[[Path], Any]


def save(folder: Path, seed: int) -> None:
    """Save an estimator."""
    clf = CASE.fitted(random_state=seed, checkpoint_every=2)
    clf.save(folder / "estimator")


def load(folder: Path) -> Any:
    """Return the influence by a saved estimator."""
    clf = load_estimator(folder / "estimator", trusted=[batch_norm])
    return clf.influence(*CASE.validation()).tolist()


def record(folder: Path, seed: int) -> None:
    """Record a run on disk."""
    CASE.fitted(random_state=seed, trajectory_dir=folder)


def states(folder: Path) -> Any:
    """Return what a run on disk holds."""
    run = Trajectory.load(folder / "run-000001")
    held = [run.state(step) for step in run.kept]
    return [
        run.seed,
        [[record.rows.tolist(), record.loss, record.digest] for record in run.records],
        [[each.parameters.tolist(), to_json(each.scalars)] for each in held],
    ]


def resume(folder: Path) -> Any:
    """Return the digest of a run that goes on from one on disk."""
    clf = CASE.classifier(trajectory_dir=folder, max_epochs=5)
    return bits(clf.fit(*CASE.data()[:2], resume=True))


def clean(folder: Path, seed: int) -> Any:
    """Return a cleaner's scores, in a cache if they are not there."""
    cleaner = InfluenceCleaner(
        CASE.classifier(), n_remove=2, cv=3, memory=str(folder), random_state=seed
    )
    return cleaner.fit(*CASE.data()[:2]).influence_.tolist()


def decide(folder: Path, seed: int) -> None:
    """Write decisions about data, as a report's page saves them."""
    fingerprint = data_fingerprint(*_reviewed(seed))
    words = np.random.default_rng(0).choice(["keep", "remove", "relabel"], 60).tolist()
    labels = ["no" if word == "relabel" else "" for word in words]
    rows = pd.DataFrame({"sample": range(60), "decision": words, "label": labels})
    decided = rows.assign(fingerprint=fingerprint, count=60).astype(str)
    texts = decided.agg("\n".join, axis=1)
    rows["check"] = ["v1-60-" + checksum(text.encode()) for text in texts]
    content = {
        "format": "skinfluence-decisions",
        "version": 2,
        "fingerprint": fingerprint,
        "decisions": rows.to_dict("records"),
    }
    (folder / "decisions.json").write_text(json.dumps(content, indent=1))
    rows.insert(3, "fingerprint", fingerprint)
    rows.to_csv(folder / "decisions.csv", index=False)


def _reviewed(seed: int) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(seed).normal(size=(60, 2))
    return X, np.where(X[:, 0] > 0, "yes", "no")


def decided(name: str) -> Callable[[Path], Any]:
    """Return what reads the decisions in a file."""

    def read(folder: Path) -> Any:
        found = read_decisions(folder / name, *_reviewed(0))
        return [found.kept.tolist(), found.removed.tolist(), repr(found.relabelled)]

    return read


ARTEFACTS = {
    "saved estimator": Artefact(save, load),
    "run on disk, loaded": Artefact(record, states),
    "run on disk, resumed": Artefact(record, resume),
    "cache of `memory`": Artefact(clean, lambda folder: clean(folder, 0)),
    "decisions, CSV": Artefact(decide, decided("decisions.csv")),
    "decisions, JSON": Artefact(decide, decided("decisions.json")),
}


def _flipped(data: bytearray, rng: np.random.Generator) -> bytearray:
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return data


def _truncated(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: rng.integers(len(data))]


def _zeroed(data: bytearray, rng: np.random.Generator) -> bytearray:
    start, length = rng.integers(len(data)), rng.integers(1, 513)
    data[start : start + length] = bytes(len(data[start : start + length]))
    return data


FAULTS = {
    "bit flipped": _flipped,
    "truncated": _truncated,
    "block zeroed": _zeroed,
    "exchanged": None,
}


def _files(folder: Path, kind: str) -> list[Path]:
    """Return the files that are read, without empty locks."""
    suffix = f".{kind[-4:].strip().lower()}" if kind.startswith("decisions") else ""
    found = [p for p in sorted(folder.rglob(f"*{suffix}")) if p.is_file()]
    return [path.relative_to(folder) for path in found if path.stat().st_size]


def damage(
    place: Path, other: Path, kind: str, fault: str, rng: np.random.Generator
) -> Path:
    """Damage one of the files; return its name."""
    files = _files(place, kind)
    if FAULTS[fault] is not None:
        name = files[rng.integers(len(files))]
        data = bytearray((place / name).read_bytes())
        (place / name).write_bytes(FAULTS[fault](data, rng))
        return name
    # With that of another artefact, or another one of its own.
    pairs = [(name, other / name) for name in files if (other / name).exists()]
    pairs += [
        (name, place / twin)
        for name in files
        for twin in files
        if name != twin
        and name.suffix == twin.suffix
        and name.name[:6] == twin.name[:6]
    ]
    name, source = pairs[rng.integers(len(pairs))]
    shutil.copy(source, place / name)
    return name


def _sort_of(name: Path) -> tuple[str, str]:
    """Return what two files of the same sort have in common."""
    return name.name[:6], name.suffix


def digest(values: Any) -> str:
    """Return a digest of values that repr tells to the bit."""
    return hashlib.sha256(repr(values).encode()).hexdigest()


def outcome(artefact: Artefact, place: Path, name: Path, expected: str) -> Answer:
    """Read a damaged artefact; return what came of it."""
    limited(MEMORY)
    try:
        found = digest(artefact.read(place))
    except SkinfluenceError as error:
        # The file, or the folder of a run that it makes useless.
        names = [str(part) for part in (name, *name.parents) if part.name]
        if any(each in str(error) for each in names):
            return [NAMED, ""]
        return [UNNAMED, str(error)[:300]]
    return [HARMLESS, ""] if found == expected else [OTHER, ""]


def run(n: int, rng: np.random.Generator, folder: Path) -> Iterator[Outcome]:
    """Yield the outcomes of damage to files."""
    bits(CASE.fitted())
    whole, other, place = (folder / name for name in ("whole", "other", "place"))
    for (kind, artefact), n_trials in zip(
        ARTEFACTS.items(), shares(n, len(ARTEFACTS)), strict=True
    ):
        for path, seed in ((whole, 0), (other, 1)):
            path.mkdir()
            artefact.write(path, seed)
        shutil.copytree(whole, place)
        expected = digest(artefact.read(place))
        for trial in range(n_trials):
            shutil.rmtree(place)
            shutil.copytree(whole, place)
            fault = list(FAULTS)[trial % len(FAULTS)]
            name = damage(place, other, kind, fault, rng)
            found, detail = Fork(outcome, artefact, place, name, expected).answer()
            yield Outcome(kind, fault, found, f"{name}: {detail}")
        for path in (whole, other, place):
            shutil.rmtree(path)


FAMILY = Family(run, 2000, (NAMED, HARMLESS))
