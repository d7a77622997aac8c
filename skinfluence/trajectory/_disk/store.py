"""The store on disk: a folder that can be read whenever the run is killed."""

import json
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from ..._files import checksum, write_file, writing
from ...exceptions import TrajectoryFileError
from ...training import State, StepRecord
from .._facts import RunFacts
from .format import RecordEncoder, states_to_bytes, tensors_to_bytes
from .journal import Journal, JournalContent, changing, facts_line
from .manifest import MANIFEST, manifest_bytes, read_manifest, read_run
from .ownership import LOCK, locked, refuse_used, remove_strays
from .shards import SavedStates, Shard

# A file is worth its cost from some size on; two of them are in memory at most.
_SHARD_BYTES, _SHARD_STATES = 8 << 20, 256


class DiskStore(SavedStates):
    """The states of a run in a folder of its own, with the run's journal.

    A step is written before its state: after a crash there are the steps up to the
    journal's last whole line, and the states up to the last whole file, the first one
    always. Use :meth:`create` or :meth:`reopen` to make one.
    """

    def __init__(
        self,
        folder: Path,
        lock: FileLock,
        run: dict[str, Any],
        about: dict[str, Any],
        content: JournalContent,
        shards: list[Shard],
        device: torch.device | str,
    ) -> None:
        super().__init__(folder, shards, device)
        self._lock = lock
        self._run = run
        self._about = about
        self._shards = shards
        self._journal = Journal(folder, content.length)
        self._encoder = RecordEncoder()
        self._n_steps = len(content.records)
        self._noted: tuple[int | None, ...] | None = None
        self._flaws = set(content.facts.flaws)
        self._anchors = set(content.facts.anchors)
        self._untrained = content.untrained
        self._writer = ThreadPoolExecutor(1, "skinfluence-store")
        self._pending: Future[None] | None = None
        self._closed = False
        self._next = max((shard.number for shard in shards), default=-1) + 1
        self._open = self._new_shard()

    @classmethod
    def create(
        cls,
        path: str | Path,
        facts: RunFacts,
        about: dict[str, Any] | None = None,
        device: torch.device | str = "cpu",
    ) -> "DiskStore":
        """Start a run in a new or empty folder.

        Parameters
        ----------
        path : str or Path
            The folder.
        facts : RunFacts
            The run.
        about : dict
            What the manifest says of where the run comes from, as JSON.
        device : torch.device or str, default="cpu"
            Where states that are read again are put.
        """
        folder = Path(path)
        about = about or {}
        run = {"seed": facts.seed, "keep_epochs": facts.keep_epochs}
        made = not folder.exists()
        try:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                refuse_used(folder)
            lock = locked(folder)
            try:
                with writing(folder):
                    refuse_used(folder)  # another run may have come and gone
                    first = manifest_bytes(run, 0, [], about, finished=False)
                    write_file(folder / MANIFEST, first)
                    content = JournalContent(RunFacts(facts.seed))
                    return cls(folder, lock, run, about, content, [], device)
            except BaseException:
                for name in (MANIFEST, LOCK):
                    with suppress(OSError):
                        (folder / name).unlink(missing_ok=True)
                lock.release()
                raise
        except BaseException:
            if made:
                shutil.rmtree(folder, ignore_errors=True)
            raise

    @classmethod
    def reopen(
        cls, path: str | Path, device: torch.device | str = "cpu"
    ) -> tuple[RunFacts, list[StepRecord], "DiskStore"]:
        """Resume the run in a folder, from where it was closed or killed.

        The journal is cut back to its last whole line, and files that were not yet
        part of the run are removed. A run without any state left has no steps.

        Parameters
        ----------
        path : str or Path
            The folder.
        device : torch.device or str, default="cpu"
            Where its states are put.
        """
        folder = Path(path)
        read_manifest(folder)
        lock = locked(folder)
        try:
            manifest = read_manifest(folder)
            content, shards = read_run(folder, manifest)
            run, about = manifest["run"], manifest["about"]
            with writing(folder):
                remove_strays(folder, shards, content.untrained)
                store = cls(folder, lock, run, about, content, shards, device)
            if content.records and not store:
                content.cut(0)
                store.cut(0)
        except BaseException:
            lock.release()
            raise
        content.facts.untrained = [x.to(device) for x in content.facts.untrained]
        return content.facts, content.records, store

    def __setitem__(self, step: int, state: State) -> None:
        self._check_writable()
        super().__setitem__(step, state)
        # There is always a state on the disk from which the run can be resumed.
        alone = not any(shard.sizes for shard in self._shards)
        sizes = self._open.sizes
        full = sum(sizes.values()) >= _SHARD_BYTES or len(sizes) >= _SHARD_STATES
        if alone or full:
            first = not self._shards
            self._flush()
            if first:
                self._wait()

    def close(
        self, facts: RunFacts, final: State | None, *, finished: bool = True
    ) -> None:
        """Write all that is left, and release the folder.

        Parameters
        ----------
        facts : RunFacts
            The run.
        final : State or None
            The state after its last step.
        finished : bool
            Whether the run came to its end, for the manifest.
        """
        if self._closed:
            return
        try:
            if final is not None:
                self[self._n_steps] = final
            with writing(self._folder):
                self._describe(facts)
            self._flush(finished=finished)
            self._wait()
        finally:
            self.release()
        if self._n_steps in self:
            del self[self._n_steps]

    def remove(self) -> None:
        """Remove the folder, with all that is in it."""
        self._writer.shutdown()
        # While no other run can resume it.
        shutil.rmtree(self._folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Write nothing more, and let others have the folder.

        The lock's file stays: another process may be waiting for this very file.
        """
        self._closed = True
        self._writer.shutdown()
        self._journal.close()
        self._lock.release()

    def __reduce__(self) -> Any:
        # A copy reads the same files; only one may write.
        if not self._closed:
            self._wait()
        copy = SavedStates(self._folder, (), self._device)
        copy._places = dict(self._places)
        copy._open = self._open
        return _same, (copy,)

    def note(self, record: StepRecord, facts: RunFacts) -> None:
        """Write a step to the journal, after the facts that have changed."""
        self._check_writable()
        with writing(self._folder):
            self._describe(facts)
            self._journal.write(self._encoder.encode(record))
        self._n_steps += 1

    def renew(self, record: StepRecord) -> None:
        """Write the digest of an earlier step to the journal."""
        self._check_writable()
        with writing(self._folder):
            self._journal.write(json.dumps({"led_to": [record.step, record.digest]}))

    def _describe(self, facts: RunFacts) -> None:
        """Write the facts to the journal if they have changed."""
        counts = len(facts.addresses), len(facts.flaws), len(facts.anchors)
        known = (*counts, *changing(facts))
        if known == self._noted:
            return
        if self._untrained is None or self._untrained["count"] != len(facts.untrained):
            self._untrained = self._write_untrained(facts.untrained)
        self._journal.write(
            facts_line(facts, self._untrained, self._flaws, self._anchors)
        )
        self._noted = known
        self._flaws, self._anchors = set(facts.flaws), set(facts.anchors)

    def _write_untrained(self, tensors: list[Tensor]) -> dict[str, Any]:
        file = f"untrained-{len(tensors):06d}.safetensors"
        data = tensors_to_bytes({str(k): tensor for k, tensor in enumerate(tensors)})
        write_file(self._folder / file, data)
        return {
            "file": file,
            "bytes": len(data),
            "crc32": checksum(data),
            "count": len(tensors),
        }

    def cut(self, n_steps: int) -> None:
        """Remove the steps from `n_steps` on, and their states."""
        self._check_writable()
        # First the states: those of a cut-off branch must never meet its successor.
        for step in [step for step in self if step >= n_steps]:
            del self[step]
        self._flush()
        self._wait()
        with writing(self._folder):
            self._journal.write(json.dumps({"cut": n_steps}))
        self._encoder = RecordEncoder()
        self._n_steps = n_steps
        self._flaws = {state for state in self._flaws if state <= n_steps}
        self._anchors = {state for state in self._anchors if state <= n_steps}
        self._noted = None

    def _new_shard(self) -> Shard:
        shard = Shard(f"states-{self._next:06d}.safetensors", states={})
        self._next += 1
        return shard

    def _check_writable(self) -> None:
        if self._closed:
            raise TrajectoryFileError(
                f"The run in {str(self._folder)!r} must be reopened before steps are "
                "added, it was closed."
            )
        if self._pending is not None and self._pending.done():
            self._pending.result()

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()

    def _flush(self, *, finished: bool = False) -> None:
        """Let the writer write the states in memory and a new manifest."""
        self._wait()
        left = [shard for shard in self._shards if shard.sizes]
        dead = [shard for shard in self._shards if not shard.sizes]
        # The last states stay until there are others to resume from.
        if not left and not self._open.sizes and self._n_steps:
            dead, left = left, dead
        full = self._open if self._open.sizes else None
        if full is not None:
            left = [*left, full]
            self._open = self._new_shard()
        self._shards = left
        states = dict(full.states or {}) if full is not None else {}
        entries = [shard.entry() for shard in left]
        self._pending = self._writer.submit(
            self._write, full, states, entries, dead, self._journal.length, finished
        )

    def _write(
        self,
        full: Shard | None,
        states: dict[int, State],
        entries: list[dict[str, Any]],
        dead: list[Shard],
        journal_bytes: int,
        finished: bool,
    ) -> None:
        with writing(self._folder):
            # In this order: the manifest lists only what is on the disk.
            self._journal.sync()
            if full is not None:
                data = states_to_bytes(states)
                write_file(self._folder / full.file, data)
                full.length, full.digest = len(data), checksum(data)
                entries[-1].update(bytes=full.length, crc32=full.digest)
            write_file(
                self._folder / MANIFEST,
                manifest_bytes(
                    self._run, journal_bytes, entries, self._about, finished
                ),
            )
            if full is not None:
                full.states = None
            for shard in dead:
                (self._folder / shard.file).unlink(missing_ok=True)


def _same(store: SavedStates) -> SavedStates:
    return store
