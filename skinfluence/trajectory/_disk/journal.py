"""The journal of a run: a file that grows by a line with each step."""

import json
import os
import weakref
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from ..._files import checksum, damaged, read_any, write_all
from ...training import StepRecord
from .._facts import RunFacts, cut_facts
from .format import RecordDecoder

JOURNAL = "journal.jsonl"

_CHANGING = ("diverged_at", "n_samples", "interval", "max_bytes", "oldest")
changing = attrgetter(*_CHANGING)
"""Return the facts of a run that change while it goes on."""


@dataclass
class JournalContent:
    """What a journal says.

    Attributes
    ----------
    facts : RunFacts
        What is known of the run, but for the values of `untrained`.
    records : list of StepRecord
        The steps.
    untrained : dict or None
        The file of these values, as the manifest has files.
    length : int
        Where the last whole line ends.
    """

    facts: RunFacts
    records: list[StepRecord] = field(default_factory=list)
    untrained: dict[str, Any] | None = None
    length: int = 0

    def cut(self, n_steps: int) -> None:
        """Forget the steps from `n_steps` on."""
        del self.records[n_steps:]
        cut_facts(self.facts, n_steps)


def read_journal(folder: Path, facts: RunFacts, at_least: int) -> JournalContent:
    """Read a journal up to its last whole line.

    Parameters
    ----------
    folder : Path
        The folder of the run.
    facts : RunFacts
        What the manifest says of the run; the journal's facts are added.
    at_least : int
        Length of the journal when the manifest was written.

    Raises
    ------
    TrajectoryFileError
        If it is missing, shorter, or a line differs from what was written.
    """
    path = folder / JOURNAL
    if not at_least and not path.exists():
        return JournalContent(facts)  # killed before the first step
    data = read_any(path)
    content = JournalContent(facts, length=data.rfind(b"\n") + 1)
    if content.length < at_least:
        raise damaged(path, f"it ends at byte {content.length}, before {at_least}")
    decoder = RecordDecoder()
    for number, line in enumerate(data[: content.length].splitlines(), 1):
        digest, _, text = line.partition(b" ")
        if checksum(text).encode() != digest:
            raise damaged(path, f"its line {number} differs from what was written")
        try:
            _apply(json.loads(text), content, decoder)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"its line {number} is not one of a journal ({error!r})"
            raise damaged(path, why) from error
    return content


def _apply(line: Any, content: JournalContent, decoder: RecordDecoder) -> None:
    facts = content.facts
    if "step" in line:
        record = decoder.decode(line)
        if record.step != len(content.records):
            raise ValueError(f"step {record.step} after {len(content.records)} steps")
        content.records.append(record)
    elif "cut" in line:
        content.cut(line["cut"])
    elif "led_to" in line:
        step, digest = line["led_to"]
        content.records[step] = replace(content.records[step], digest=digest)
    else:
        facts.flaws.update({int(k): why for k, why in line["flaws"].items()})
        facts.anchors.update(line["anchors"])
        facts.addresses = [(group, index) for group, index in line["addresses"]]
        content.untrained = line["untrained"]
        # Early files lack some of them.
        vars(facts).update({name: line[name] for name in _CHANGING if name in line})


def facts_line(
    facts: RunFacts, untrained: Any, flaws: set[int], anchors: set[int]
) -> str:
    """Return the line of a run's facts, without the flaws and anchors of earlier ones.

    Parameters
    ----------
    facts : RunFacts
        The facts.
    untrained : dict
        As in :class:`JournalContent`.
    flaws, anchors : set of int
        Numbers of the states whose flaws and anchors the journal has already.
    """
    line = {
        **dict(zip(_CHANGING, changing(facts), strict=True)),
        "addresses": facts.addresses,
        "untrained": untrained,
        "flaws": {k: why for k, why in facts.flaws.items() if k not in flaws},
        "anchors": sorted(facts.anchors - anchors),
    }
    return json.dumps(line)


class Journal:
    """A journal open for writing.

    Parameters
    ----------
    folder : Path
        The folder of the run.
    length : int
        Where to continue; what comes after is cut off.
    """

    def __init__(self, folder: Path, length: int = 0) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(folder / JOURNAL, flags, 0o666)
        self.close = weakref.finalize(self, os.close, self._descriptor)
        os.ftruncate(self._descriptor, length)
        self.length = length

    def write(self, text: str) -> None:
        """Append a line; nothing of it stays if that fails."""
        data = text.encode()
        line = checksum(data).encode() + b" " + data + b"\n"
        try:
            write_all(self._descriptor, line)
        except BaseException:
            os.ftruncate(self._descriptor, self.length)
            raise
        self.length += len(line)

    def sync(self) -> None:
        """Flush the journal to the disk."""
        os.fsync(self._descriptor)
