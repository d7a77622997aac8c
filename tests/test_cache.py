"""Cached scores: damage is named and computed again, and nothing costs the result."""

import os
import pickle
import threading
import warnings

import joblib
import numpy as np
import pytest

from skinfluence._cache import cache_of
from skinfluence.exceptions import CacheWarning

SCORES = np.array([0.5, -1.25, np.inf, -0.0, 3e-310])
KEY = "0123456789abcdef"


class Counting:
    def __init__(self, scores=SCORES):
        self.calls, self.scores = 0, scores

    def __call__(self, key, *args):
        self.calls += 1
        return self.scores.copy()


def same(one, other):
    return (one.dtype, one.shape, one.tobytes()) == (
        other.dtype,
        other.shape,
        other.tobytes(),
    )


@pytest.fixture
def entry(tmp_path):
    cache_of(tmp_path).call(Counting(), KEY)
    return tmp_path / f"{KEY}.safetensors"


def asked(folder, key=KEY):
    """Ask a folder in which other scores would be computed; return what it says."""
    other = Counting(SCORES + 1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = cache_of(folder).call(other, key)
    assert {warning.category for warning in told} <= {CacheWarning}
    return found, other.calls, [str(warning.message) for warning in told]


@pytest.mark.parametrize("scores", [SCORES, np.eye(3)[:, :2], np.zeros(0)])
def test_what_is_kept_comes_back_to_the_bit(tmp_path, scores):
    function = Counting(scores)
    for path in (tmp_path / "new" / "folder", str(tmp_path / "new" / "folder")):
        found = cache_of(path).call(function, KEY)
        assert same(found, scores)
        found[...] = 7  # as the caller may: it is no view of what is kept
    assert function.calls == 1
    assert same(cache_of(path).call(function, KEY), scores)
    cache_of(path).call(function, "another")
    assert function.calls == 2


def test_the_memory_of_none_keeps_nothing():
    function, cache = Counting(), cache_of(None)
    assert cache.key(1) == cache.key(2)
    for _ in range(2):
        assert same(cache.call(function, cache.key(1)), SCORES)
    assert function.calls == 2


def test_every_damage_is_computed_again_or_harms_nothing(entry, tmp_path):
    whole, draw = entry.read_bytes(), np.random.default_rng(0)
    flips = draw.integers(0, 8 * len(whole), 60)
    cuts = draw.integers(0, len(whole), 30)
    n_told = 0
    for bit, cut in [*((b, None) for b in flips), *((None, c) for c in cuts)]:
        damaged = bytearray(whole if cut is None else whole[:cut])
        if bit is not None:
            damaged[bit // 8] ^= 1 << bit % 8
        entry.write_bytes(damaged)
        found, n_calls, told = asked(tmp_path)
        assert same(found, SCORES + n_calls)
        assert len(told) == n_calls
        n_told += n_calls
        if n_calls:
            assert str(entry) in told[0]
            # Computed again, and kept in its place.
            assert same(asked(tmp_path)[0], SCORES + 1)
    # Those that harm nothing are blanks of the header: few.
    assert n_told > 80


@pytest.mark.parametrize("kind", ["pickle", "endless", "pipe", "huge", "folder"])
def test_other_things_in_the_place_of_an_entry(entry, tmp_path, kind):
    outside = tmp_path / "outside"
    outside.write_bytes(entry.read_bytes())
    entry.unlink()
    if kind == "pickle":
        entry.write_bytes(pickle.dumps(SCORES))
    elif kind == "endless":
        entry.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(entry)
    elif kind == "huge":
        entry.touch()
        os.truncate(entry, 2**40)
    else:
        entry.mkdir()
    found, n_calls, told = asked(tmp_path)
    assert same(found, SCORES + 1)
    assert n_calls == 1
    assert 1 <= len(told) <= 2
    assert "cannot be used" in told[0]
    assert entry.is_file() or kind == "folder"


def test_a_link_is_replaced_and_not_written_through(entry, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"of another")
    entry.unlink()
    entry.symlink_to(outside)
    found, n_calls, _ = asked(tmp_path)
    assert n_calls == 1
    assert outside.read_bytes() == b"of another"
    assert same(asked(tmp_path)[0], found)


def test_an_entry_of_another_key_or_version_is_not_used(entry, tmp_path, monkeypatch):
    entry.rename(tmp_path / "another.safetensors")
    assert asked(tmp_path, "another")[1:][0] == 1
    (tmp_path / "another.safetensors").rename(entry)
    monkeypatch.setattr("skinfluence._cache.__version__", "0.0.1")
    assert asked(tmp_path)[1] == 1


def test_a_full_disk_costs_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    cache, function = cache_of(tmp_path), Counting()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.warns(CacheWarning, match="cannot be written .*large"):
            found = [cache.call(function, "one")]
        found.append(cache.call(function, "two"))  # a second warning were an error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert same(np.stack(found), np.stack([SCORES] * 2))
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"] * 2
    assert same(cache.call(function, "one"), SCORES)
    assert asked(tmp_path, "one")[1:] == (0, [])


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="Linux")
def test_a_folder_that_cannot_be_made_costs_nothing():
    found, n_calls, told = asked("/proc/memory")
    assert same(found, SCORES + 1)
    assert n_calls == 1
    assert len(told) == 1
    assert "cannot be written" in told[0]


def test_a_cache_that_can_only_be_read_is_read(entry, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    # The superuser may write everywhere.
    monkeypatch.setattr("skinfluence._cache.FileLock.acquire", refuse)
    monkeypatch.setattr("skinfluence._cache.new_file", refuse)
    assert same(asked(tmp_path)[0], SCORES)
    assert asked(tmp_path)[1:] == (0, [])
    found, n_calls, told = asked(tmp_path, "another")
    assert same(found, SCORES + 1)
    assert n_calls == len(told) == 1


def test_errors_and_interrupts_leave_no_entry(tmp_path):
    for error in (OSError("of the function"), KeyboardInterrupt(), ValueError("no")):

        def function(key, error=error):
            raise error

        with pytest.raises(type(error)):
            cache_of(tmp_path).call(function, KEY)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    assert asked(tmp_path)[1:] == (1, [])


def test_several_at_once_compute_once(tmp_path):
    function, barrier, found = Counting(), threading.Barrier(4), []

    def ask():
        barrier.wait()
        found.append(cache_of(tmp_path).call(function, KEY))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert function.calls == 1
    assert all(same(each, SCORES) for each in found)


def test_several_at_once_without_locks_write_whole_entries(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise NotImplementedError("no locks here")

    monkeypatch.setattr("skinfluence._cache.FileLock.acquire", refuse)
    caches = [cache_of(tmp_path) for _ in range(4)]
    for cache in caches:
        cache._told.add("unwritable")  # warnings are not for threads
    threads = [
        threading.Thread(target=cache.call, args=(Counting(), KEY)) for cache in caches
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert [path.name for path in tmp_path.iterdir()] == [f"{KEY}.safetensors"]
    assert asked(tmp_path)[1:] == (0, [])


def kept_by_joblib(key, scores):
    return scores


def test_the_memory_of_a_user_is_used_as_it_is(tmp_path):
    cache = cache_of(joblib.Memory(tmp_path, verbose=0))
    for scores in (SCORES, SCORES + 1):
        assert same(cache.call(kept_by_joblib, KEY, scores), SCORES)
    assert list(tmp_path.rglob("output.pkl"))
    nothing = cache_of(joblib.Memory(None))
    for scores in (SCORES, SCORES + 1):
        assert same(nothing.call(kept_by_joblib, KEY, scores), scores)
