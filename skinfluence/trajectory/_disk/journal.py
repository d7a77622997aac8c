"""The journal of a run: a file that grows by a line with each step."""

import json
import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from ..._files import checksum, damaged, reading, write_all
from ...training import StepRecord
from .._facts import RunFacts, cut_facts
from .checks import count, integer, text
from .format import RecordDecoder

JOURNAL = "journal.jsonl"

_CHANGING = ("diverged_at", "n_samples", "interval", "max_bytes", "oldest")
# Of a line: eight digits and a space; and the longest one that is ever read.
_HEAD, _LINE_BYTES = 9, 1 << 30
_AS_ZEROS = bytes.maketrans(b"0123456789abcdef", 16 * b"0")
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
    content, decoder = JournalContent(facts), RecordDecoder()
    if not at_least and not os.path.lexists(path):
        return content  # killed before the first step
    for number, (digest, line) in enumerate(_lines(path), 1):
        if checksum(line).encode() != digest:
            raise damaged(path, f"its line {number} differs from what was written")
        try:
            _apply(json.loads(line), content, decoder)
        except Exception as error:  # foreign content can fail anywhere
            why = f"its line {number} is not one of a journal ({error!r:.200})"
            raise damaged(path, why) from error
        content.length += len(digest) + len(line) + 2
    if content.length < at_least:
        raise damaged(path, f"it ends at byte {content.length}, before {at_least}")
    return content


def _lines(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield digest and text of every whole line."""
    with reading(path) as file:
        while head := file.read(_HEAD):
            if not b"00000000 ".startswith(head.translate(_AS_ZEROS)):
                raise damaged(path, "it has a line that differs from what was written")
            text = file.readline(_LINE_BYTES)
            if not text.endswith(b"\n"):
                if len(text) == _LINE_BYTES:
                    raise damaged(path, f"it has a line of over {_LINE_BYTES} bytes")
                return  # killed within the line
            yield head[:-1], text[:-1]


def _apply(line: Any, content: JournalContent, decoder: RecordDecoder) -> None:
    facts, n_steps = content.facts, len(content.records)
    if "step" in line:
        record = decoder.decode(line)
        if record.step != n_steps:
            raise ValueError(f"step {record.step!r:.80} after {n_steps} steps")
        content.records.append(record)
    elif "cut" in line:
        content.cut(_up_to(line["cut"], n_steps))
    elif "led_to" in line:
        step, digest = line["led_to"]
        last = content.records[_up_to(step, n_steps - 1)]
        content.records[step] = replace(last, digest=integer(digest))
    else:
        facts.flaws.update({int(k): text(why) for k, why in line["flaws"].items()})
        facts.anchors.update(map(count, line["anchors"]))
        addresses = [(count(group), count(index)) for group, index in line["addresses"]]
        facts.addresses, content.untrained = addresses, line["untrained"]
        # Early files lack some of them.
        changed = {name: line[name] for name in _CHANGING if name in line}
        for name, value in changed.items():
            if value is not None or name not in ("diverged_at", "max_bytes"):
                count(value)
        if changed.get("interval") == 0:
            raise ValueError("interval=0")
        vars(facts).update(changed)


def _up_to(value: Any, most: int) -> int:
    """Return a number of things, of which there are at most so many."""
    if count(value) > most:
        raise ValueError(f"{value} of {most}")
    return count(value)


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
        flags |= getattr(os, "O_NOFOLLOW", 0)
        self._descriptor = os.open(folder / JOURNAL, flags, 0o666)
        self.close = weakref.finalize(self, os.close, self._descriptor)
        os.ftruncate(self._descriptor, length)
        self.length = length

    def write(self, text: str) -> None:
        """Append a line; nothing of it stays if that fails."""
        data = text.encode()
        line = checksum(data).encode() + b" " + data + b"\n"
        if len(line) >= _LINE_BYTES:
            raise OSError("a step has too many rows for the journal")
        try:
            write_all(self._descriptor, line)
        except BaseException:
            os.ftruncate(self._descriptor, self.length)
            raise
        self.length += len(line)

    def sync(self) -> None:
        """Flush the journal to the disk."""
        os.fsync(self._descriptor)
