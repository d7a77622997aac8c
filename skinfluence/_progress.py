"""Calls in parallel, with a progress bar."""

from collections.abc import Callable, Iterable
from typing import Any

from sklearn.utils.parallel import Parallel
from tqdm.auto import tqdm


def parallel_calls(
    calls: Iterable[tuple[Callable[..., Any], Any, Any]],
    n_jobs: int | None,
    *,
    words: str,
    total: int,
    verbose: int,
) -> list[Any]:
    """Make calls through joblib and return their results in order.

    Parameters
    ----------
    calls : iterable of delayed calls
        As :func:`sklearn.utils.parallel.delayed` makes them.
    n_jobs : int or None
        Number of calls at a time.
    words, total : str, int
        What the bar says, and the number of calls.
    verbose : int
        Whether there is a bar; there is none for a single call.
    """
    if not verbose or total < 2:
        return list(Parallel(n_jobs=n_jobs)(calls))
    results = Parallel(n_jobs=n_jobs, return_as="generator")(calls)
    return list(tqdm(results, desc=words, total=total))
