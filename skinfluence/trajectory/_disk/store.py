"""The store on disk: a folder that can be read whenever the run is killed."""

import json
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import Tensor

from ..._files import checksum, write_file, writing
from ...exceptions import TrajectoryFileError
from ...training import State, StepRecord
from .._trajectory import Trajectory
from .format import RecordEncoder, states_to_bytes, tensors_to_bytes
from .journal import Journal, JournalContent, Records, read_journal
from .manifest import MANIFEST, described, manifest_bytes, read_manifest, take_final
from .ownership import LOCK, locked, refuse_used, remove_strays
from .shards import SavedStates, Shard

# A file is worth its cost from some size on; two of them are in memory at most.
_SHARD_BYTES, _SHARD_STATES = 8 << 20, 256


class DiskStore(SavedStates):
    """The states of a run in a folder of its own, and the run's records beside them.

    A step is written down before its state: after a crash the steps up to the last
    whole line of the journal are there, and the states up to the last whole file,
    the first one always. To be made with :meth:`create` or :meth:`reopen`.
    """

    def __init__(
        self,
        folder: Path,
        lock: FileLock,
        trajectory: Trajectory,
        shards: list[Shard],
        content: JournalContent,
        about: dict[str, Any],
    ) -> None:
        super().__init__(folder, shards)
        self.about = about
        self._lock = lock
        self._trajectory = trajectory
        self._shards = shards
        self._journal = Journal(folder, content.length)
        self._encoder = RecordEncoder()
        self._noted: Any = None
        self._n_flaws = len(content.flaws)
        self._anchors = set(content.anchors)
        self._untrained = content.run.get("untrained")
        self._writer = ThreadPoolExecutor(1, "skinfluence-store")
        self._pending: Future[None] | None = None
        self._closed = False
        numbers = [int(shard.file[7:13]) for shard in shards]
        self._next = max(numbers, default=-1) + 1
        self._open = self._new_shard()
        trajectory.records = Records(
            content.records, self._note, self._renew, self._cut
        )
        trajectory._store = self

    @classmethod
    def create(
        cls,
        path: str | Path,
        trajectory: Trajectory,
        about: dict[str, Any] | None = None,
    ) -> "DiskStore":
        """Begin a run in a new or empty folder.

        Parameters
        ----------
        path : str or Path
            The folder.
        trajectory : Trajectory
            A run without steps; its records and states go to the folder from now on.
        about : dict
            What the manifest is to say of where the run comes from, as JSON.
        """
        folder = Path(path)
        assert not trajectory.records
        about = about or {}
        made = not folder.exists()
        try:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                refuse_used(folder)
            lock = locked(folder)
            try:
                with writing(folder):
                    refuse_used(folder)  # another run may have come and gone
                    first = manifest_bytes(trajectory, 0, [], about, finished=False)
                    write_file(folder / MANIFEST, first)
                    return cls(folder, lock, trajectory, [], JournalContent(), about)
            except BaseException:
                lock.release()
                for name in (MANIFEST, LOCK):
                    with suppress(OSError):
                        (folder / name).unlink(missing_ok=True)
                raise
        except BaseException:
            if made:
                shutil.rmtree(folder, ignore_errors=True)
            raise

    @classmethod
    def reopen(cls, path: str | Path) -> "DiskStore":
        """Go on with the run in a folder, from where it was closed or killed.

        The journal is cut back to its last whole line, and what was not yet part of
        the run is removed. A run of which not one state is left has no steps.

        Parameters
        ----------
        path : str or Path
            The folder; its :attr:`trajectory` has the run.
        """
        folder = Path(path)
        read_manifest(folder)
        lock = locked(folder)
        try:
            manifest = read_manifest(folder)
            content = read_journal(folder, manifest["journal_bytes"])
            trajectory, shards = described(folder, manifest, content)
            n_states = sum(len(shard.sizes) for shard in shards)
            with writing(folder):
                remove_strays(folder, shards, content)
                store = cls(
                    folder, lock, trajectory, shards, content, manifest["about"]
                )
            if content.records and not n_states:
                del trajectory.records[0:]
            take_final(trajectory)
        except BaseException:
            lock.release()
            raise
        return store

    @property
    def trajectory(self) -> Trajectory:
        """The run."""
        return self._trajectory

    def __setitem__(self, step: int, state: State) -> None:
        self._check_writable()
        super().__setitem__(step, state)
        # There is always a state on the disk from which the run can go on.
        alone = not any(shard.sizes for shard in self._shards)
        sizes = self._open.sizes
        full = len(sizes) * state.nbytes >= _SHARD_BYTES or len(sizes) >= _SHARD_STATES
        if alone or full:
            first = not self._shards
            self._flush()
            if first:
                self._wait()

    def close(self, *, finished: bool = True) -> None:
        """Write down all that is left, the final state too, and let others write.

        Parameters
        ----------
        finished : bool
            Whether the run came to its end, which the manifest then says.
        """
        if self._closed:
            return
        try:
            if self._trajectory.final is not None:
                self[self._trajectory.n_steps] = self._trajectory.final
            with writing(self._folder):
                self._describe()
            self._flush(finished=finished)
            self._wait()
        finally:
            self._release()
        if self._trajectory.n_steps in self:
            del self[self._trajectory.n_steps]

    def _release(self) -> None:
        self._closed = True
        self._writer.shutdown()
        self._journal.close()
        with suppress(OSError):
            (self._folder / LOCK).unlink(missing_ok=True)
        self._lock.release()

    def __reduce__(self) -> Any:
        # A copy reads the same files; only one may write.
        if not self._closed:
            self._wait()
        copy = SavedStates(self._folder, (), self._device)
        copy._places = dict(self._places)
        copy._open = self._open
        return _same, (copy,)

    def _note(self, record: StepRecord) -> None:
        self._check_writable()
        with writing(self._folder):
            self._describe()
            self._journal.write(self._encoder.encode(record))

    def _renew(self, record: StepRecord) -> None:
        self._check_writable()
        with writing(self._folder):
            self._journal.write(json.dumps({"led_to": [record.step, record.digest]}))

    def _describe(self) -> None:
        """Write down what has changed in the run besides its steps."""
        run = self._trajectory
        changing = {
            "diverged_at": run.diverged_at,
            "n_samples": run.n_samples,
            "interval": run.interval,
            "max_bytes": run.max_bytes,
            "oldest": run._oldest,
        }
        known = len(run.addresses), len(run.flaws), len(run.anchors), changing
        if known == self._noted:
            return
        if self._untrained is None or self._untrained["count"] != len(run.untrained):
            self._untrained = self._write_untrained(run.untrained)
        line = {
            **changing,
            "addresses": run.addresses,
            "untrained": self._untrained,
            "flaws": dict(list(run.flaws.items())[self._n_flaws :]),
            "anchors": sorted(run.anchors - self._anchors),
        }
        self._journal.write(json.dumps(line))
        self._noted = known
        self._n_flaws, self._anchors = len(run.flaws), set(run.anchors)

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

    def _cut(self, n_steps: int) -> None:
        self._check_writable()
        # First the states: those of a cut-off branch must never meet its successor.
        for step in [step for step in self if step >= n_steps]:
            del self[step]
        self._flush()
        self._wait()
        with writing(self._folder):
            self._journal.write(json.dumps({"cut": n_steps}))
        self._encoder = RecordEncoder()
        self._n_flaws = sum(state <= n_steps for state in self._trajectory.flaws)
        self._anchors = {state for state in self._anchors if state <= n_steps}
        self._noted = None

    def _new_shard(self) -> Shard:
        shard = Shard(f"states-{self._next:06d}.safetensors", states={})
        self._next += 1
        return shard

    def _check_writable(self) -> None:
        if self._closed:
            raise TrajectoryFileError(
                f"The run in {str(self._folder)!r} must be reopened before it goes on, "
                "it was closed."
            )
        if self._pending is not None and self._pending.done():
            self._pending.result()

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()

    def _flush(self, *, finished: bool = False) -> None:
        """Hand the states in memory, and the books as they are now, to the writer."""
        self._wait()
        left = [shard for shard in self._shards if shard.sizes]
        dead = [shard for shard in self._shards if not shard.sizes]
        # The last states stay until there are others to go on from.
        if not left and not self._open.sizes and self._trajectory.records:
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
            # In this order: the manifest tells only of what is on the disk.
            self._journal.sync()
            if full is not None:
                data = states_to_bytes(states)
                write_file(self._folder / full.file, data)
                full.length, full.digest = len(data), checksum(data)
                entries[-1].update(bytes=full.length, crc32=full.digest)
            write_file(
                self._folder / MANIFEST,
                manifest_bytes(
                    self._trajectory, journal_bytes, entries, self.about, finished
                ),
            )
            if full is not None:
                full.states = None
            for shard in dead:
                (self._folder / shard.file).unlink(missing_ok=True)


def _same(store: SavedStates) -> SavedStates:
    return store
