"""Saved estimators that are damaged, foreign, or whose disk is full."""

import errno
import itertools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from skinfluence import (
    SGDInfluenceClassifier,
    Trajectory,
    load_estimator,
)
from skinfluence.estimators._saving import save as _persistence
from skinfluence.exceptions import (
    NondeterminismWarning,
    TrajectoryFileError,
)
from tests.cases import rough
from tests.commands.processes import end, start
from tests.estimators.persisted import (
    OPTIONS,
    data,
    plain,
)

pytestmark = rough


# Damage


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    X, y = data()
    clf = SGDInfluenceClassifier(**OPTIONS, checkpoint_every=3).fit(X, y)
    folder = tmp_path_factory.mktemp("saved") / "clf"
    clf.save(folder)
    return folder


@pytest.fixture
def saved(template, tmp_path):
    return Path(shutil.copytree(template, tmp_path / "clf"))


def use(folder):
    X, y = data()
    return load_estimator(folder).influence(X, y)


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


FILES = [
    "estimator.json",
    "manifest.json",
    "tensors.safetensors",
    "trajectory/journal.jsonl",
    "trajectory/manifest.json",
    "trajectory/states-000000.safetensors",
    "trajectory/states-000001.safetensors",
    "trajectory/untrained-000004.safetensors",
    "values.skops",
]


def test_these_are_all_files(saved):
    assert files(saved) == FILES


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_or_missing_file_is_named(saved, name):
    whole = (saved / name).read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 2):
        (saved / name).write_bytes(whole[:length])
        with pytest.raises(TrajectoryFileError, match=name):
            use(saved)
    (saved / name).unlink()
    with pytest.raises(TrajectoryFileError, match=rf"{name}.*missing"):
        use(saved)
    (saved / name).write_bytes(whole)
    use(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_named(saved, name):
    whole = bytearray((saved / name).read_bytes())
    for place in np.linspace(0, len(whole) - 2, 9).astype(int):
        damaged = bytearray(whole)
        damaged[place] ^= 4
        (saved / name).write_bytes(damaged)
        with pytest.raises(TrajectoryFileError, match=name):
            use(saved)


@pytest.mark.parametrize("name", ["estimator.json", "trajectory", "values.skops"])
def test_the_files_of_two_estimators_cannot_be_mixed(saved, tmp_path, name):
    X, y = data()
    other = SGDInfluenceClassifier(**{**OPTIONS, "random_state": 1}).fit(X, y)
    other.save(tmp_path / "other")
    if (saved / name).is_dir():
        shutil.rmtree(saved / name)
        shutil.copytree(tmp_path / "other" / name, saved / name)
    else:
        shutil.copy(tmp_path / "other" / name, saved / name)
    with pytest.raises(TrajectoryFileError, match=name):
        use(saved)


def test_a_foreign_folder(tmp_path):
    with pytest.raises(TrajectoryFileError, match=r"manifest\.json.* is missing"):
        load_estimator(tmp_path / "nothing")
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(TrajectoryFileError, match="does not hold a skinfluence estim"):
        load_estimator(tmp_path)
    Trajectory(0).save(tmp_path / "run")
    with pytest.raises(TrajectoryFileError, match="'skinfluence trajectory' and not"):
        load_estimator(tmp_path / "run")


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(_persistence, "VERSION", _persistence.VERSION + 1)
        SGDInfluenceClassifier().save(tmp_path / "clf")
    newer = rf"newer skinfluence .*\(format {_persistence.VERSION + 1}\)"
    with pytest.raises(TrajectoryFileError, match=newer):
        load_estimator(tmp_path / "clf")


def test_another_torch_matters_where_states_are_computed_again(tmp_path, monkeypatch):
    X, y = data()
    versions = {**_persistence._versions(), "torch": "2.4.1+cpu"}
    for every in (1, 3):
        clf = SGDInfluenceClassifier(checkpoint_every=every, **OPTIONS).fit(X, y)
        with monkeypatch.context() as patch:
            patch.setattr(_persistence, "_versions", lambda: versions)
            clf.save(tmp_path / str(every))
    load_estimator(tmp_path / "1")
    with pytest.warns(NondeterminismWarning, match=r"torch 2\.4\.1"):
        load_estimator(tmp_path / "3")


# Where nothing can be written


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


@pytest.mark.parametrize("room", [0, 100, 5_000, 20_000, 40_000])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, room):
    X, y = data()
    clf = SGDInfluenceClassifier(**OPTIONS).fit(X, y)
    clf.save(tmp_path / "old")
    before = clf.influence(X, y)
    clf.partial_fit(X, y)
    with monkeypatch.context() as patch:
        Disk(patch, room)
        for path, overwrite in (("new", False), ("old", True)):
            told = rf"folder '{tmp_path / path}(/trajectory)?' .*No space left"
            with pytest.raises(TrajectoryFileError, match=told):
                clf.save(tmp_path / path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert plain(use(tmp_path / "old")) == plain(before)


@pytest.mark.slow
@pytest.mark.parametrize("call", ["write", "fsync", "replace", "rename", "mkdir"])
def test_an_interruption_leaves_what_was_there(tmp_path, monkeypatch, call):
    X, y = data()
    clf = SGDInfluenceClassifier(**OPTIONS).fit(X, y)
    clf.save(tmp_path / "old")
    before = clf.influence(X, y)
    clf.partial_fit(X, y)
    original, left = getattr(os, call), [0]

    def interrupted(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    for number in range(1, 60, 3):
        left[0] = number
        with monkeypatch.context() as patch:
            patch.setattr(os, call, interrupted)
            try:
                clf.save(tmp_path / "old", overwrite=True)
                break
            except KeyboardInterrupt:
                pass
        assert [path.name for path in tmp_path.iterdir()] == ["old"]
        assert plain(use(tmp_path / "old")) == plain(before)
    assert load_estimator(tmp_path / "old").n_epochs_ == 6


def killed_at(call, number, work):
    """Do work in a process that ends at the n-th such call; return whether it did."""
    original, left = getattr(os, call), [number]

    def killed(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            os._exit(9)
        return original(*args, **kwargs)

    def begun(_):
        setattr(os, call, killed)
        work()
        return 0

    code = end(start([], work=begun))
    assert code in (0, 9)
    return code == 9


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_process_killed_while_it_saves(tmp_path, one_thread, call):
    folder = tmp_path / "clf"
    X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    old, new = (
        SGDInfluenceClassifier(max_epochs=n, lr=0.01, random_state=0).fit(X, y)
        for n in (3, 5)
    )
    scores = {net.n_epochs_: net.influence(X, y) for net in (old, new)}
    old.save(folder)
    for number in itertools.count(1):
        if not killed_at(call, number, lambda: new.save(folder, overwrite=True)):
            break
        there = load_estimator(folder)
        assert (there.influence(X, y) == scores[there.n_epochs_]).all()
    assert load_estimator(folder).n_epochs_ == 5
    assert number > 5


def test_a_read_only_folder(read_only_folder):
    with pytest.raises(TrajectoryFileError, match=r"clf.* cannot be written"):
        SGDInfluenceClassifier().save(read_only_folder / "clf")
    assert list(read_only_folder.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TrajectoryFileError, match=r"clf.* cannot be written"):
        SGDInfluenceClassifier().save(tmp_path / "file" / "clf")
    assert (tmp_path / "file").read_text() == "mine"
