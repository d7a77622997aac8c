"""Work given to other processes: what is checked before, and its progress."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from joblib import effective_n_jobs
from joblib.parallel import get_active_backend
from sklearn.utils.parallel import Parallel

from ._numbers import is_integer
from ._progress import shows_progress, tracked


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


def parallel_calls(
    calls: Iterable[tuple[Callable[..., Any], Any, Any]],
    n_jobs: int | None,
    *,
    words: str,
    unit: str,
    total: int,
    verbose: int = 0,
) -> list[Any]:
    """Make calls through joblib and return their results in order.

    Parameters
    ----------
    calls : iterable of delayed calls
        As :func:`sklearn.utils.parallel.delayed` makes them.
    n_jobs : int or None
        Number of calls at a time.
    words, unit : str
        What the progress bar says.
    total : int
        The number of calls.
    verbose : int
        Whether there is a bar outside of a block of `progress` too.
    """
    backend, _ = get_active_backend()
    if not (shows_progress(verbose) and backend.supports_return_generator):
        return list(Parallel(n_jobs=n_jobs)(calls))
    results = Parallel(n_jobs=n_jobs, return_as="generator")(calls)
    return list(tracked(results, words, unit, total=total, verbose=verbose))
