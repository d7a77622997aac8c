"""Runs on disk: the same bits, whatever is killed, cut, flipped or full."""

import copy
import errno
import json
import os
import pickle
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from skinfluence import Trajectory
from skinfluence.exceptions import TrajectoryFileError, TrajectoryInUseError
from skinfluence.training import Clipping, State
from skinfluence.trajectory import StepRecord, close_run, reopened
from skinfluence.trajectory._disk import manifest
from skinfluence.trajectory._disk import store as disk
from skinfluence.trajectory._disk.store import DiskStore
from tests.cases import Case
from tests.commands.processes import end, start


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    monkeypatch.setattr(disk, "_SHARD_STATES", 3)


def state(number):
    return State(
        torch.full((5,), float(number)),
        {"momentum_buffer": torch.full((5,), -float(number))},
        (None, (("step", float(number)),)),
        (torch.tensor(number),),
    )


def record(step, epoch):
    return StepRecord(
        step,
        epoch,
        data=0,
        rows=torch.tensor([step, step + 1]),
        seed=step,
        hyperparameters=({"lr": 1 / (1 + epoch), "betas": (0.9, 0.99)},),
        active=(0, 1),
        clipping=Clipping("norm", 0.5) if step % 2 else None,
    )


def extend(run, epochs):
    for epoch in epochs:
        step = run.n_steps
        if step == 4:
            run.flaws[4] = "a callback"
        run.append(record(step, epoch), run.final or state(step), state(step + 1))
        run.n_samples = step + 2
    return run


EPOCHS = [1, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def in_memory(epochs=EPOCHS, keep=None):
    run = Trajectory(3, keep, [(0, 0), (0, 1)], [torch.zeros(3), torch.ones(2)])
    return extend(run, epochs)


def on_disk(path, epochs=EPOCHS, keep=None):
    run = Trajectory(3, keep, [(0, 0), (0, 1)], [torch.zeros(3), torch.ones(2)])
    run._store = DiskStore.create(path, run)
    return extend(run, epochs)


def assert_state(mine, theirs):
    assert torch.equal(mine.parameters, theirs.parameters)
    assert mine.moments.keys() == theirs.moments.keys()
    for name, moment in mine.moments.items():
        assert torch.equal(moment, theirs.moments[name])
    assert mine.scalars == theirs.scalars
    assert all(map(torch.equal, mine.buffers, theirs.buffers))


def assert_records(mine, theirs):
    assert len(mine) == len(theirs)
    for left, right in zip(mine, theirs, strict=True):
        assert torch.equal(left.rows, right.rows)
        for name in left.__dataclass_fields__:
            if name != "rows":
                assert getattr(left, name) == getattr(right, name), name


def assert_run(mine, theirs):
    for name in vars(theirs).keys() - {"untrained", "records", "final", "_store"}:
        assert getattr(mine, name) == getattr(theirs, name), name
    assert all(map(torch.equal, mine.untrained, theirs.untrained))
    assert_records(mine.records, theirs.records)
    assert list(mine._store) == list(theirs._store)
    assert mine.nbytes == theirs.nbytes
    assert mine.kept == theirs.kept
    for step in theirs.kept:
        assert_state(mine.state(step), theirs.state(step))


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


# What is written is what was there


@pytest.mark.parametrize("keep", [None, 1, 2])
def test_a_run_on_disk_is_the_run_in_memory(tmp_path, keep):
    run = on_disk(tmp_path / "run", keep=keep)
    assert_run(run, in_memory(keep=keep))
    close_run(run)
    assert_run(run, in_memory(keep=keep))
    assert_run(Trajectory.load(tmp_path / "run"), in_memory(keep=keep))


@pytest.mark.parametrize("keep", [None, 2])
def test_save_and_load(tmp_path, keep):
    run = in_memory(keep=keep)
    run.diverged_at = 7
    run.save(tmp_path / "new" / "run")
    assert_run(Trajectory.load(tmp_path / "new" / "run"), run)
    # And once more, out of the folder.
    Trajectory.load(tmp_path / "new" / "run").save(tmp_path / "again")
    assert_run(Trajectory.load(tmp_path / "again"), run)


def test_a_run_without_steps(tmp_path):
    Trajectory(5).save(tmp_path / "run")
    again = Trajectory.load(tmp_path / "run")
    assert (again.seed, again.n_steps, again.final) == (5, 0, None)


def test_states_may_have_gaps(tmp_path):
    run = in_memory()
    for step in (1, 2, 5, 6, 8):
        del run._store[step]
    run.save(tmp_path / "run")
    again = Trajectory.load(tmp_path / "run")
    assert list(again._store) == [0, 3, 4, 7, 9]
    for step in again._store:
        assert_state(again.state(step), state(step))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "asgd"])
def test_the_influence_is_the_same_to_the_bit(tmp_path, optimizer):
    fitted = Case("batch_norm", optimizer).fitted()
    expected = fitted.influence(*Case().validation())
    fitted.trajectory_.save(tmp_path / "run")
    fitted.trajectory_ = Trajectory.load(tmp_path / "run")
    np.testing.assert_array_equal(fitted.influence(*Case().validation()), expected)


@pytest.mark.parametrize("record", ["all", 2])
@pytest.mark.parametrize("module", ["batch_norm", "dropout"])
def test_a_thinned_run_is_retraced_to_the_bit(tmp_path, module, record):
    """What is kept of it, what that was told by, and what must not be let go."""
    case = Case(module, "adam")
    fitted = case.fitted(record=record, checkpoint_every=3, max_trajectory_bytes=10**7)
    expected = case.fitted(record=record).influence(*case.validation())
    fitted.trajectory_.save(tmp_path / "run")
    again = Trajectory.load(tmp_path / "run")
    assert_run(again, fitted.trajectory_)
    assert len(again.kept) < again.n_steps - again.first_recorded_step
    fitted.trajectory_ = again
    np.testing.assert_array_equal(fitted.influence(*case.validation()), expected)


# Room for six states: more of them are thinned out.
ROOM = 6 * state(0).nbytes


def thinned(run, epochs=range(1, 31)):
    run.max_bytes = ROOM
    run.anchors.add(7)
    return extend(run, epochs)


def test_a_run_that_is_thinned_on_disk(tmp_path):
    run = on_disk(tmp_path / "run", [])
    thinned(run)
    expected = thinned(in_memory([]))
    assert expected.interval > 1
    assert 7 in expected.kept
    assert any(record.digest is not None for record in expected.records)
    assert_run(run, expected)
    close_run(run)
    assert_run(Trajectory.load(tmp_path / "run"), expected)


def test_cutting_a_thinned_run_on_disk(tmp_path):
    run = on_disk(tmp_path / "run", [])
    expected = in_memory([])
    for each in (run, expected):
        thinned(each)
        each.anchors |= {20, 29}
        each.truncate(24, state(24))
        extend(each, [40, 40])
    close_run(run)
    assert_run(Trajectory.load(tmp_path / "run"), expected)


def test_a_loaded_run_goes_on_and_leaves_its_folder_alone(tmp_path):
    in_memory().save(tmp_path / "run")
    before = {p: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    again = Trajectory.load(tmp_path / "run")
    extend(again, [4, 4])
    again.truncate(11)
    expected = extend(in_memory(), [4, 4])
    expected.truncate(11)
    assert_run(again, expected)
    assert {p: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before


def test_few_states_are_in_memory(tmp_path):
    run = on_disk(tmp_path / "run", range(1, 41))
    run._store._wait()
    shards = set(run._store._places.values())
    assert sum(len(shard.states or ()) for shard in shards) <= 2 * 3
    for step in reversed(range(40)):
        assert_state(run.state(step), state(step))
        assert len(run._store._cache[1]) <= 3 if run._store._cache else True
    close_run(run)


def test_deleted_states_take_their_files_with_them(tmp_path):
    run = on_disk(tmp_path / "run", range(1, 41), keep=2)
    assert list(run._store) == [38, 39]
    close_run(run)
    assert sum(name.startswith("states") for name in names(tmp_path / "run")) <= 3
    assert_run(Trajectory.load(tmp_path / "run"), run)


@pytest.mark.parametrize("n_steps", [0, 1, 3, 5, 9])
def test_truncate_and_go_on(tmp_path, n_steps):
    run = on_disk(tmp_path / "run")
    expected = in_memory()
    for each in (run, expected):
        each.truncate(n_steps)
        extend(each, [3, 4, 4])
    assert_run(run, expected)
    close_run(run)
    assert_run(Trajectory.load(tmp_path / "run"), expected)


@pytest.mark.parametrize(
    "way", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copy_reads_the_same_files(tmp_path, way):
    run = on_disk(tmp_path / "run")
    again = way(run)
    assert_run(again, run)
    extend(again, [9])
    assert (again.n_steps, run.n_steps) == (11, 10)
    close_run(run)
    assert_run(Trajectory.load(tmp_path / "run"), run)
    assert_run(way(Trajectory.load(tmp_path / "run")), run)


def test_reopening_goes_on(tmp_path):
    close_run(on_disk(tmp_path / "run", EPOCHS[:5]))
    run = reopened(tmp_path / "run")
    extend(run, EPOCHS[5:])
    assert_run(run, in_memory())
    close_run(run)
    assert_run(Trajectory.load(tmp_path / "run"), in_memory())


# One run, one folder


def test_a_used_folder_is_refused(tmp_path):
    run = on_disk(tmp_path / "run")
    with pytest.raises(TrajectoryFileError, match=r"new or empty, but it holds a run"):
        DiskStore.create(tmp_path / "run", Trajectory(0))
    close_run(run)
    with pytest.raises(TrajectoryFileError, match=r"run.* must be new or empty"):
        run.save(tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("all of it")
    with pytest.raises(TrajectoryFileError, match=r"thesis\.tex"):
        DiskStore.create(tmp_path / "other", Trajectory(0))
    assert names(tmp_path / "other") == ["thesis.tex"]
    assert_run(Trajectory.load(tmp_path / "run"), run)


def test_overwriting_replaces_all(tmp_path):
    in_memory().save(tmp_path / "run")
    in_memory(EPOCHS[:2]).save(tmp_path / "run", overwrite=True)
    assert_run(Trajectory.load(tmp_path / "run"), in_memory(EPOCHS[:2]))
    assert names(tmp_path) == ["run"]


def test_a_run_under_way_is_not_replaced(tmp_path):
    run = on_disk(tmp_path / "run")
    with pytest.raises(TrajectoryInUseError, match="another run writes"):
        in_memory(EPOCHS[:2]).save(tmp_path / "run", overwrite=True)
    close_run(run)
    assert_run(Trajectory.load(tmp_path / "run"), run)


def test_what_else_is_in_the_folder_is_kept(tmp_path):
    close_run(on_disk(tmp_path / "run"))
    others = ["draft.part", "states-1.txt", "thesis.tex"]
    for name in others:
        (tmp_path / "run" / name).write_text("all of it")
    # What a killed process leaves of its own is removed.
    (tmp_path / "run" / "states-000009.safetensors.part").touch()
    (tmp_path / "run" / ".skinfluence-0123456789abcdef.part").touch()
    with pytest.raises(TrajectoryFileError, match="and nothing else"):
        in_memory().save(tmp_path / "run", overwrite=True)
    close_run(reopened(tmp_path / "run"))
    left = names(tmp_path / "run")
    assert [name for name in left if name in others] == others
    assert [name for name in left if name.endswith(".part")] == ["draft.part"]


def test_a_loaded_run_saved_over_itself(tmp_path):
    in_memory().save(tmp_path / "run")
    run, expected = Trajectory.load(tmp_path / "run"), in_memory()
    for each in (run, expected):
        each.truncate(5, state(5))
        each.widen(2)
    run.save(tmp_path / "run", overwrite=True)
    assert_run(run, expected)  # its states lie in other files now
    assert_run(Trajectory.load(tmp_path / "run"), expected)


def test_two_runs_cannot_write_at_once(tmp_path):
    run = on_disk(tmp_path / "run")
    with pytest.raises(TrajectoryFileError, match="another run writes"):
        DiskStore.reopen(tmp_path / "run")
    close_run(run)
    close_run(reopened(tmp_path / "run"))


def test_a_closed_run_takes_no_more_steps(tmp_path):
    run = on_disk(tmp_path / "run")
    close_run(run)
    close_run(run)
    with pytest.raises(TrajectoryFileError, match="must be reopened"):
        extend(run, [4])
    assert_run(run, in_memory())


# Killed


def killed_while_it_writes(folder, keep, seconds):
    """Write a run in a process that is killed so long after its first step."""
    reader, writer = os.pipe()

    def work(_):
        run = on_disk(folder, [], keep=keep)
        os.write(writer, b"!")
        for step in range(100_000):
            extend(run, [1 + step // 4])
        return 1

    child = start([], work=work)
    os.close(writer)
    with open(reader, "rb") as ready:
        assert ready.read(1) == b"!"
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    assert end(child) == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked")
def test_killed_while_it_writes(tmp_path, one_thread):
    rng = random.Random(0)
    for number in range(8):
        folder, keep = tmp_path / str(number), (None, 1)[number % 2]
        killed_while_it_writes(folder, keep, rng.uniform(0.0, 0.1))
        check_killed(folder, keep)


def check_killed(folder, keep):
    left = Trajectory.load(folder)
    run = reopened(folder)
    store = run._store
    n_steps = run.n_steps
    expected = in_memory([1 + step // 4 for step in range(n_steps)])
    assert_records(left.records[:n_steps], run.records)
    assert_records(run.records, expected.records)
    # A state's flaw is written down before the step that begins from it.
    known = {k: why for k, why in run.flaws.items() if k < n_steps}
    assert known == {k: why for k, why in expected.flaws.items() if k < n_steps}
    assert run.flaws.keys() - known.keys() <= ({4} & {n_steps})
    # There is a state to go on from, and none is wrong.
    assert len(store) or not n_steps
    for step in store:
        assert step < n_steps
        assert_state(store[step], state(step))
    if keep is None and n_steps:
        assert 0 in store
    # What was lost can be computed again; here it is known.
    run.final = expected.final
    for step in range(run.first_recorded_step, n_steps):
        store.setdefault(step, state(step))
    extend(run, [1 + step // 4 for step in range(n_steps, n_steps + 8)])
    close_run(run)
    again = Trajectory.load(folder)
    assert again.n_steps == n_steps + 8
    assert_state(again.final, state(n_steps + 8) if n_steps else state(8))


def test_killed_when_the_journal_has_forgotten_more_than_the_states_have(
    tmp_path, monkeypatch
):
    run = on_disk(tmp_path / "run", [1, 1, 1, 1], keep=1)
    run._store._wait()
    with monkeypatch.context() as patch:
        # The writer's thread does not come to it any more.
        patch.setattr(DiskStore, "_flush", lambda store: None)
        extend(run, [2, 2])
    copy_folder(tmp_path / "run", tmp_path / "killed")
    close_run(run)
    left = reopened(tmp_path / "killed")
    assert (left.oldest, left.kept[-1]) == (4, 3)
    left.truncate(3)
    assert left.last_kept(3) == 3
    extend(left, [1, 2, 2])
    close_run(left)
    assert_run(
        Trajectory.load(tmp_path / "killed"), in_memory([1, 1, 1, 1, 2, 2], keep=1)
    )


@pytest.mark.parametrize("keep", [None, 1])
@pytest.mark.parametrize("moment", range(12))
def test_killed_between_two_calls_of_the_system(tmp_path, monkeypatch, moment, keep):
    """Copy the folder at each rename and removal of a file, and before each line."""
    copies = []

    def spying(function):
        def spy(*args, **kwargs):
            if len(copies) <= moment:
                target = tmp_path / f"copy-{len(copies)}"
                copy_folder(tmp_path / "run", target)
                copies.append(target)
            return function(*args, **kwargs)

        return spy

    run = on_disk(tmp_path / "run", EPOCHS[:5], keep=keep)
    run._store._wait()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", spying(os.replace))
        patch.setattr(Path, "unlink", spying(Path.unlink))
        patch.setattr(os, "fsync", spying(os.fsync))
        extend(run, EPOCHS[5:])
        run.truncate(8)
        close_run(run)
    if len(copies) <= moment:
        pytest.skip("the run is over before")
    found = reopened(copies[moment])
    store = found._store
    assert len(store)
    assert_records(found.records, in_memory().records[: found.n_steps])
    for step in store:
        assert_state(store[step], state(step))
    close_run(found)


def copy_folder(source, target):
    target.mkdir()
    for path in list(source.iterdir()):
        # The writer's thread may rename it meanwhile: then it is not there any more.
        try:
            (target / path.name).write_bytes(path.read_bytes())
        except FileNotFoundError:
            continue


# Damaged


@pytest.fixture
def saved(tmp_path):
    in_memory().save(tmp_path / "run")
    return tmp_path / "run"


def read_all(folder):
    run = Trajectory.load(folder)
    for step in range(run.first_recorded_step, run.n_steps + 1):
        run.state(step)
    return run


FILES = [
    "manifest.json",
    "journal.jsonl",
    "states-000000.safetensors",
    "states-000002.safetensors",
    "untrained-000002.safetensors",
]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("left", [0, 1, 0.3, 0.5, 0.9, -1])
def test_a_truncated_file_is_named(saved, file, left):
    path = saved / file
    data = path.read_bytes()
    length = int(left * len(data)) if isinstance(left, float) else left
    path.write_bytes(data[:length])
    if file == "manifest.json" and left == -1:
        read_all(saved)  # it ends with a newline, which tells nothing
        return
    with pytest.raises(TrajectoryFileError, match=file):
        read_all(saved)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(saved, file):
    (saved / file).unlink()
    with pytest.raises(TrajectoryFileError, match=f"{file}.* is missing"):
        read_all(saved)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("bit", [0, 5, 7])
def test_a_flipped_bit_never_passes_unseen(saved, file, bit):
    """Positions all over the file: lengths, headers, tensors, digests, newlines."""
    path = saved / file
    data = path.read_bytes()
    positions = {*range(12), *range(len(data) - 12, len(data))}
    positions |= set(range(0, len(data), max(1, len(data) // 40)))
    for position in sorted(positions):
        flipped = bytearray(data)
        flipped[position] ^= 1 << bit
        path.write_bytes(flipped)
        if file == "manifest.json" and json_is_the_same(data, flipped):
            assert_run(read_all(saved), in_memory())
        else:
            with pytest.raises(TrajectoryFileError, match=file):
                read_all(saved)


def json_is_the_same(data, flipped):
    """Whether only white space is another, which means nothing in JSON."""
    try:
        return json.loads(data) == json.loads(bytes(flipped))
    except ValueError:
        return False


def test_reopening_a_damaged_run_names_the_file_and_changes_nothing(saved):
    path = saved / "journal.jsonl"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    before = {p: p.read_bytes() for p in saved.iterdir()}
    with pytest.raises(TrajectoryFileError, match=r"journal\.jsonl.*line \d+"):
        DiskStore.reopen(saved)
    after = {p: p.read_bytes() for p in saved.iterdir() if p.name != "lock"}
    assert after == before


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\x80\x04K\x01.", b'"x"'])
def test_a_foreign_manifest_is_named(saved, content):
    (saved / "manifest.json").write_bytes(content)
    with pytest.raises(TrajectoryFileError, match=r"manifest\.json"):
        Trajectory.load(saved)


def test_another_format_is_told(saved, monkeypatch):
    sealed = manifest.sealed({"format": "other", "version": 1})
    (saved / "manifest.json").write_bytes(sealed)
    with pytest.raises(TrajectoryFileError, match="of the format 'other'"):
        Trajectory.load(saved)
    newer = manifest.VERSION + 1
    sealed = manifest.sealed({"format": manifest.FORMAT, "version": newer})
    (saved / "manifest.json").write_bytes(sealed)
    with pytest.raises(TrajectoryFileError, match="a newer skinfluence"):
        Trajectory.load(saved)


def test_the_files_of_two_runs_cannot_be_mixed(saved, tmp_path):
    other = in_memory()
    other.records[4] = record(4, 1)
    other.save(tmp_path / "other")
    for name in ("states-000001.safetensors", "journal.jsonl"):
        assert (tmp_path / "other" / name).exists()
    other._store[4] = state(77)
    other.save(tmp_path / "third")
    name = next(
        n
        for n in names(saved)
        if (saved / n).read_bytes() != (tmp_path / "third" / n).read_bytes()
        and n.startswith("states")
    )
    (saved / name).write_bytes((tmp_path / "third" / name).read_bytes())
    with pytest.raises(TrajectoryFileError, match=name):
        read_all(saved)


def test_loading_what_is_not_there(tmp_path):
    with pytest.raises(TrajectoryFileError, match=r"manifest\.json.* is missing"):
        Trajectory.load(tmp_path / "nothing")
    assert names(tmp_path) == []


# Where nothing can be written


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "run").write_text("mine")
    for path in ("run", "run/below"):
        with pytest.raises(TrajectoryFileError, match=r"run.* cannot be written"):
            DiskStore.create(tmp_path / path, Trajectory(0))
    with pytest.raises(TrajectoryFileError, match=r"run.* cannot be written"):
        in_memory().save(tmp_path / "run" / "below")
    assert (tmp_path / "run").read_text() == "mine"


def test_a_read_only_folder(read_only_folder):
    of_it = rf"{read_only_folder.name}.* cannot be written"
    with pytest.raises(TrajectoryFileError, match=of_it):
        DiskStore.create(read_only_folder, Trajectory(0))
    with pytest.raises(TrajectoryFileError, match=of_it):
        in_memory().save(read_only_folder / "below")
    assert names(read_only_folder) == []


class Disk:
    """A disk that takes so many bytes and no more."""

    def __init__(self, monkeypatch, room):
        self.room = room
        self.write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, descriptor, data):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self.write(descriptor, data[: self.room])
        self.room -= written
        return written


def record_to_the_end(path):
    run = on_disk(path, [])
    try:
        extend(run, [1] * 100)
    finally:
        close_run(run)  # the writer may still be at it


@pytest.mark.parametrize("room", [0, 100, 700, 1500, 3000, 6000])
def test_a_full_disk_while_recording(tmp_path, monkeypatch, room):
    with monkeypatch.context() as patch:
        disk = Disk(patch, room)
        with pytest.raises(TrajectoryFileError, match=r"run.*No space left"):
            record_to_the_end(tmp_path / "run")
        assert disk.room <= 0
    if not (tmp_path / "run").exists():
        return
    assert not [name for name in names(tmp_path / "run") if name.endswith(".part")]
    # The run up to there can be read.
    run = read_all_there(tmp_path / "run")
    assert_records(run.records, in_memory([1] * 100).records[: run.n_steps])


def read_all_there(folder):
    run = Trajectory.load(folder)
    for step in run._store:
        assert_state(run.state(step), state(step))
    return run


def test_an_error_of_the_writer_is_raised_by_the_next_step_and_at_the_end(
    tmp_path, monkeypatch
):
    run = on_disk(tmp_path / "run", EPOCHS[:3])
    run._store._wait()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    extend(run, [2])  # fills a file, which the writer's thread fails to write
    with pytest.raises(TrajectoryFileError, match="No space left"):
        run._store._wait()
    with pytest.raises(TrajectoryFileError, match="No space left"):
        extend(run, [2])
    with pytest.raises(TrajectoryFileError, match="No space left"):
        close_run(run)
    assert not [name for name in names(tmp_path / "run") if name.endswith(".part")]
    monkeypatch.undo()
    close_run(reopened(tmp_path / "run"))  # it is not locked


@pytest.mark.parametrize("room", [0, 300, 2000])
def test_a_full_disk_while_saving_leaves_nothing(tmp_path, monkeypatch, room):
    in_memory(EPOCHS[:2]).save(tmp_path / "old")
    with monkeypatch.context() as patch:
        Disk(patch, room)
        for path, overwrite in (("run", False), ("old", True)):
            told = f"folder '{tmp_path / path}' cannot be written: No space left"
            with pytest.raises(TrajectoryFileError, match=told):
                in_memory().save(tmp_path / path, overwrite=overwrite)
    assert names(tmp_path) == ["old"]
    assert_run(Trajectory.load(tmp_path / "old"), in_memory(EPOCHS[:2]))


def test_a_disk_that_is_really_full(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode
    except FileNotFoundError:
        mounted = 1
    if mounted:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(TrajectoryFileError, match=r"run.*No space left"):
            close_run(on_disk(folder / "run", range(1000)))
        read_all_there(folder / "run")
        with pytest.raises(TrajectoryFileError, match=r"other.*No space left"):
            in_memory(range(1000)).save(folder / "other")
        assert names(folder) == ["run"]
    finally:
        # The errors above hold their trajectories, and so open files, for a while yet.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
