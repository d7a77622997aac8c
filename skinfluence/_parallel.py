"""Work given to other processes: what is checked before, sent to them, and shown."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from itertools import chain, islice
from typing import Any

import torch
from joblib import effective_n_jobs
from joblib.parallel import get_active_backend
from sklearn.utils.parallel import Parallel, delayed

from ._numbers import is_integer
from ._progress import counting


def check_n_jobs(n_jobs: object) -> None:
    """Refuse a number of processes that is none, and processes that would hang.

    A forked process has none of the threads that torch's pool is made of, and waits
    for them for ever.
    """
    number = is_integer(n_jobs) and 0 < abs(n_jobs) < 2**31
    if n_jobs is not None and not number:
        raise ValueError(
            "`n_jobs` must be None or an integer other than 0, such as 2, or -1 for "
            f"all processors, got {n_jobs!r}."
        )
    backend, _ = get_active_backend()
    forks = type(backend).__name__ == "MultiprocessingBackend"
    if forks and torch.get_num_threads() > 1 and effective_n_jobs(n_jobs) > 1:
        raise ValueError(
            f"`n_jobs` must be 1 within joblib's backend 'multiprocessing', got "
            f"{n_jobs!r}: its processes are forked, and hang where torch uses several "
            "threads. Use the backend 'loky' (the default) or 'threading', or call "
            "torch.set_num_threads(1) first."
        )


class _Common:
    """What calls have in common: the function, and the data among its arguments."""

    def __init__(self, function: Callable[..., Any], args: Mapping[int, Any]) -> None:
        self.function, self.args = function, args

    def rest(self, args: Iterable[Any]) -> dict[int, Any]:
        """Return the arguments of a call that are its own, by their places."""
        nothing = object()
        return {
            place: arg
            for place, arg in enumerate(args)
            if arg is not self.args.get(place, nothing)
        }

    def call(self, own: Mapping[int, Any]) -> Any:
        """Call the function with a call's own arguments in their places."""
        args = {**self.args, **own}
        return self.function(*(args[place] for place in range(len(args))))


def _apart(
    function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]
) -> tuple[_Common, Iterator[dict[int, Any]]]:
    """Return what calls have in common, judged by the first two, and what is left."""
    arguments = iter(arguments)
    first = list(islice(arguments, 2))
    pairs = enumerate(zip(*first, strict=True)) if len(first) == 2 else ()
    same = {place: one for place, (one, other) in pairs if one is other}
    common = _Common(function, same)
    return common, map(common.rest, chain(first, arguments))


class _Stored:
    """The same, in the store of a cluster of Ray."""

    def __init__(self, common: _Common) -> None:
        self.reference = import_module("ray").put(common)

    def call(self, own: Mapping[int, Any]) -> Any:
        """Call the function, in a process of the cluster."""
        return import_module("ray").get(self.reference).call(own)


def _call(common: _Common | _Stored, own: Mapping[int, Any]) -> Any:
    return common.call(own)


@contextmanager
def _sent_once(common: _Common) -> Iterator[_Common | _Stored]:
    """Send what calls have in common to a cluster, and yield what stands for it there.

    By themselves the backends of clusters send it with every call: they judge by the
    size that Python tells, which for an estimator, say, leaves out what it holds.
    """
    backend, _ = get_active_backend()
    name = type(backend).__name__ if common.args else ""
    if name == "RayBackend":
        yield _Stored(common)
    elif name == "DaskDistributedBackend":
        # To every worker: what is on one alone is lost with it, and so are all calls.
        sent = backend.client.scatter(common, broadcast=True, hash=False)
        backend.data_futures[id(common)] = sent
        try:
            yield common
        finally:
            del backend.data_futures[id(common)]
    else:
        yield common


class _Counted(Parallel):
    """Moves a bar as calls end, with every backend: not all can return a generator."""

    def __init__(self, advance: Callable[..., Any], **options: Any) -> None:
        super().__init__(**options)
        self._advance, self._shown = advance, 0

    def print_progress(self) -> None:
        """Move the bar; joblib calls this where calls have ended."""
        ended = self.n_completed_tasks - self._shown
        self._shown += ended
        self._advance(ended)


def parallel_calls(
    function: Callable[..., Any],
    arguments: Iterable[tuple[Any, ...]],
    n_jobs: int | None,
    *,
    words: str,
    unit: str,
    total: int,
    verbose: int = 0,
) -> list[Any]:
    """Call a function through joblib and return the results in order.

    Parameters
    ----------
    function : callable
        The function.
    arguments : iterable of tuple
        The arguments of each call, as many in each. Those that are one object in all
        calls are sent once.
    n_jobs : int or None
        Number of calls at a time.
    words, unit : str
        What the progress bar says.
    total : int
        The number of calls.
    verbose : int
        Whether there is a bar outside of a block of `progress` too.
    """
    common, left = _apart(function, arguments)
    with (
        _sent_once(common) as sent,
        counting(words, total, unit, verbose) as advance,
    ):
        calls = (delayed(_call)(sent, own) for own in left)
        return list(_Counted(advance, n_jobs=n_jobs)(calls))
