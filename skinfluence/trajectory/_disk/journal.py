"""The records of a run on disk: a file that grows by a line with each step."""

import json
import os
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, SupportsIndex

from ..._files import checksum, damaged, read_any, write_all
from ...training import StepRecord
from .format import RecordDecoder

JOURNAL = "journal.jsonl"


@dataclass
class JournalContent:
    """What a journal tells.

    Attributes
    ----------
    records : list of StepRecord
        The steps.
    run : dict
        What else is known of the run, as it was last written.
    flaws : dict of int to str
        The flaws of the trajectory.
    anchors : set of int
        Its anchors.
    length : int
        Where the last whole line ends.
    """

    records: list[StepRecord] = field(default_factory=list)
    run: dict[str, Any] = field(default_factory=dict)
    flaws: dict[int, str] = field(default_factory=dict)
    anchors: set[int] = field(default_factory=set)
    length: int = 0

    def cut(self, n_steps: int) -> None:
        """Forget the steps from `n_steps` on."""
        del self.records[n_steps:]
        self.flaws = {k: why for k, why in self.flaws.items() if k <= n_steps}
        self.anchors = {k for k in self.anchors if k <= n_steps}
        diverged_at = self.run.get("diverged_at")
        if diverged_at is not None and diverged_at >= n_steps:
            self.run["diverged_at"] = None


def read_journal(folder: Path, at_least: int) -> JournalContent:
    """Read a journal up to its last whole line.

    Parameters
    ----------
    folder : Path
        Where it is.
    at_least : int
        How long it was when the manifest was written.

    Raises
    ------
    TrajectoryFileError
        If it is missing, shorter, or holds a line that is not as it was written.
    """
    path = folder / JOURNAL
    if not at_least and not path.exists():
        return JournalContent()  # killed before it began
    data = read_any(path)
    content = JournalContent(length=data.rfind(b"\n") + 1)
    if content.length < at_least:
        raise damaged(path, f"it ends at byte {content.length}, before {at_least}")
    decoder = RecordDecoder()
    for number, line in enumerate(data[: content.length].splitlines(), 1):
        digest, _, text = line.partition(b" ")
        if checksum(text).encode() != digest:
            raise damaged(path, f"its line {number} differs from what was written")
        try:
            _take(json.loads(text), content, decoder)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"its line {number} is not one of a journal ({error!r})"
            raise damaged(path, why) from error
    return content


def _take(line: Any, content: JournalContent, decoder: RecordDecoder) -> None:
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
        content.flaws.update({int(k): why for k, why in line.pop("flaws").items()})
        content.anchors.update(line.pop("anchors"))
        content.run.update(line)


class Journal:
    """A journal open for writing.

    Parameters
    ----------
    folder : Path
        Where it is.
    length : int
        Where to go on; what comes after is cut off.
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
        """Let all that was written be on the disk."""
        os.fsync(self._descriptor)


class Records(list[StepRecord]):
    """The records of a run, written down as they are appended, renewed or cut off.

    Parameters
    ----------
    known : iterable of StepRecord
        Those that are written down already.
    note : callable
        Writes one down.
    renew : callable
        Writes down one that stands already, for a digest that was taken later.
    cut : callable
        Writes down that the records from a number on are cut off.
    """

    def __init__(
        self,
        known: Iterable[StepRecord],
        note: Callable[[StepRecord], None],
        renew: Callable[[StepRecord], None],
        cut: Callable[[int], None],
    ) -> None:
        super().__init__(known)
        self._note = note
        self._renew = renew
        self._cut = cut

    def append(self, record: StepRecord) -> None:
        """Add a record at the end."""
        self._note(record)
        super().append(record)

    def __setitem__(self, index: Any, record: Any) -> None:
        """Put a record in its own place, with a digest that it did not have."""
        self._renew(record)
        super().__setitem__(index, record)

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        start, stop, stride = (
            index.indices(len(self)) if isinstance(index, slice) else (0, 0, 0)
        )
        if (stop, stride) != (len(self), 1):
            raise TypeError("Records of a run are cut off at its end: del records[n:].")
        self._cut(start)
        super().__delitem__(index)

    def __reduce__(self) -> Any:
        return list, (list(self),)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return self.__reduce__()
