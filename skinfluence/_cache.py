"""A cache of scores that several processes share; nothing is computed twice.

It never costs a result: what cannot be read is computed again, and what cannot be
written is not kept.
"""

import inspect
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from filelock import FileLock
from safetensors import SafetensorError

from ._files import checksum, new_file, read_any
from ._keys import digest
from ._values import check_path
from ._version import __version__
from ._warnings import warn_caller
from .exceptions import CacheWarning, TrajectoryFileError

_FORMAT, _VERSION = "skinfluence-scores", "1"
_SCORES = "scores"

# More is neither kept nor read: memory is bounded, whatever lies in the folder.
_MOST_BYTES = 2**30

_OTHERWISE = ", an object with the interface of joblib.Memory, or None"


class Cache:
    """Keeps nothing: the cache of ``memory=None``."""

    def key(self, *objects: object) -> str:
        """Return the key of all that a result depends on."""
        return ""

    def call(
        self, function: Callable[..., np.ndarray], key: str, *args: object
    ) -> np.ndarray:
        """Call ``function(key, *args)``, or return what is kept under the key."""
        return function(key, *args)


class _KeyedCache(Cache):
    """Keeps results in a folder, in which one process at a time computes a key's.

    Parameters
    ----------
    folder : Path or None
        The folder; None if there is none to lock.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._told: set[str] = set()

    def key(self, *objects: object) -> str:
        return digest(*objects)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Let the others wait, to load what this one computes."""
        if self._folder is None:
            yield
            return
        lock = FileLock(self._folder / f"{key}.lock")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (OSError, NotImplementedError) as error:
            self._tell_unwritable(error)
        try:
            yield
        finally:
            lock.release()

    def _tell_unwritable(self, error: Exception) -> None:
        why = getattr(error, "strerror", None) or error
        self._tell(
            "unwritable",
            f"The folder {str(self._folder)!r} of `memory` cannot be written ({why}): "
            "results are computed, but not kept. Free some space, grant write "
            "permission, or name another folder.",
        )

    def _tell(self, what: str, message: str) -> None:
        if what not in self._told:
            self._told.add(what)
            warn_caller(message, CacheWarning)


class _JoblibCache(_KeyedCache):
    """A ``joblib.Memory`` of the user's, which pickles what it keeps."""

    def __init__(self, memory: Any) -> None:
        self._memory, store = memory, getattr(memory, "store_backend", None)
        # None to one of another kind, or one that keeps nothing.
        super().__init__(None if store is None else Path(store.location))

    def call(
        self, function: Callable[..., np.ndarray], key: str, *args: object
    ) -> np.ndarray:
        ignored = list(inspect.signature(function).parameters)[1:]
        with self._locked(key):
            return self._memory.cache(function, ignore=ignored)(key, *args)


class _ScoreCache(_KeyedCache):
    """A folder with a file of safetensors for each result."""

    _folder: Path

    def call(
        self, function: Callable[..., np.ndarray], key: str, *args: object
    ) -> np.ndarray:
        scores = self._read(key)
        if scores is not None:
            return scores
        with self._locked(key):
            scores = self._read(key)
            if scores is None:
                scores = function(key, *args)
                self._write(key, scores)
        return scores

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"

    def _read(self, key: str) -> np.ndarray | None:
        path = self._path(key)
        if not os.path.lexists(path):
            return None
        try:
            return _from_bytes(read_any(path, 2 * _MOST_BYTES), key)
        except (TrajectoryFileError, *_DAMAGES) as error:
            self._tell(
                key,
                f"The cached scores in {str(path)!r} cannot be used ({error}): they "
                "are computed again.",
            )
            return None

    def _write(self, key: str, scores: np.ndarray) -> None:
        try:
            if scores.nbytes > _MOST_BYTES:
                raise OSError(f"{scores.nbytes:,} bytes are too many")
            with new_file(self._path(key)) as file:
                file.write(_to_bytes(scores, key))
        except OSError as error:
            self._tell_unwritable(error)


def cache_of(memory: Any) -> Cache:
    """Return the cache of a parameter `memory`.

    Parameters
    ----------
    memory : str, path-like, object with the interface of joblib.Memory, or None
        Where to keep results; None to keep none.
    """
    if memory is None:
        return Cache()
    if hasattr(memory, "cache"):
        return _JoblibCache(memory)
    return _ScoreCache(check_path("memory", memory, otherwise=_OTHERWISE))


# What reading a file raises that is not what was written.
_DAMAGES = (SafetensorError, ValueError, KeyError, TypeError, RecursionError)


def _to_bytes(scores: np.ndarray, key: str) -> bytes:
    about = {
        "format": _FORMAT,
        "version": _VERSION,
        "skinfluence": __version__,
        "key": key,
    }
    sealed = {**about, "crc32": _checksum(scores, about)}
    return safetensors.numpy.save({_SCORES: scores}, sealed)


def _from_bytes(data: bytes, key: str) -> np.ndarray:
    """Return the scores, if they are what was written under the key."""
    tensors = safetensors.numpy.load(data)
    length = int.from_bytes(data[:8], "little")
    about = json.loads(data[8 : 8 + length])["__metadata__"]
    written, scores = about.pop("crc32"), tensors[_SCORES].copy()
    if (about["format"], about["version"]) != (_FORMAT, _VERSION):
        raise ValueError(f"they are of the format {about['format']!r}")
    if (about["key"], about["skinfluence"]) != (key, __version__):
        raise ValueError("they were written for another key")
    if _checksum(scores, about) != written:
        raise ValueError("their checksum differs from that of what was written")
    return scores


def _checksum(scores: np.ndarray, about: dict[str, str]) -> str:
    """Return the checksum of all that is read, and of what it is taken for."""
    head = json.dumps([about, str(scores.dtype), scores.shape], sort_keys=True)
    return checksum(head.encode() + scores.tobytes())
