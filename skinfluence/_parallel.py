"""What is checked before work is given to other processes."""

import torch
from joblib import effective_n_jobs
from joblib.parallel import get_active_backend

from ._numbers import is_integer


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
