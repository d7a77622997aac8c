"""Progress bars of long work, where they are asked for."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeVar

Item = TypeVar("Item")


class _Bars:
    """How many bars are open at a time."""

    n_open = 0


_BARS: ContextVar[_Bars | None] = ContextVar("bars", default=None)

# The whole and the part in hand; making bars of still smaller parts takes time.
_MOST = 2

# Seconds after which the bar of a part is shown: those of short ones would flicker.
_DELAY = 0.5


@contextmanager
def progress() -> Iterator[None]:
    """Show progress bars for the long work of a block.

    For training, retraces, exact retraining, the runs, folds and rounds of cleaners,
    scorers and searches for faults, in a notebook or on a terminal (the standard
    error). At most two bars are shown at a time: that of the whole, and of the part in
    hand, which goes when it is done. Work in other processes and threads (`n_jobs`)
    counts as it comes back; where it does so all at once, as from joblib's backend
    'multiprocessing', there is no bar for it. The results are the same; without the
    block nothing is shown but what an estimator's or a cleaner's `verbose` asks for.

    Yields
    ------
    None
        Nothing; it is also a decorator of functions, if these are not asynchronous.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier, progress
    >>> X, y = load_iris(return_X_y=True)
    >>> with progress():
    ...     clf = SGDInfluenceClassifier(random_state=0).fit(X[::2], y[::2])
    ...     scores = clf.influence(X[1::2], y[1::2])
    """
    token = _BARS.set(_BARS.get() or _Bars())
    try:
        yield
    finally:
        # A generator may be closed in another context, in which nothing was set.
        with suppress(ValueError):
            _BARS.reset(token)


def shows_progress(verbose: int = 0) -> bool:
    """Whether bars are shown: in a block of `progress`, or where `verbose` says so."""
    return bool(verbose) or _BARS.get() is not None


@contextmanager
def counting(
    words: str, total: int | None, unit: str, verbose: int = 0
) -> Iterator[Callable[..., Any]]:
    """Yield ``advance(n=1)``, which moves a bar if one is shown.

    Parameters
    ----------
    words, unit : str
        What the bar says.
    total : int or None
        How far it goes; None if that is not known. There is no bar up to 1.
    verbose : int
        Whether there is a bar outside of a block of `progress` too.
    """
    bars = _BARS.get() or _Bars()
    single = total is not None and total < 2
    shown = shows_progress(verbose) and not single and stderr_is_open()
    if not shown or bars.n_open >= _MOST:
        yield no_advance
        return
    # In a notebook without ipywidgets this warns. Even a bar that is not shown takes
    # tqdm's lock, which forked processes share: one that is killed with it would leave
    # the others waiting.
    from tqdm.auto import tqdm

    inner = bars.n_open > 0
    delay = _DELAY if inner else 0.0
    bars.n_open += 1
    try:
        with tqdm(
            desc=words, total=total, unit=unit, leave=not inner, delay=delay
        ) as bar:
            yield bar.update
    finally:
        bars.n_open -= 1


def stderr_is_open() -> bool:
    """Whether there is a standard error: a program without a terminal may have none."""
    return not getattr(sys.stderr, "closed", sys.stderr is None)


def no_advance(n: int = 1) -> None:
    """Move no bar."""


def tracked(
    items: Iterable[Item],
    words: str,
    unit: str,
    *,
    total: int | None = None,
    verbose: int = 0,
) -> Iterable[Item]:
    """Return the items, with a bar over them if one is shown.

    Parameters
    ----------
    items : iterable
        What is worked on.
    words, unit : str
        What the bar says.
    total : int or None
        Their number, where they have no length.
    verbose : int
        Whether there is a bar outside of a block of `progress` too.
    """
    if not shows_progress(verbose):
        return items
    if total is None and isinstance(items, Sized):
        total = len(items)
    return _counted(items, words, total, unit, verbose)


def _counted(
    items: Iterable[Item], words: str, total: int | None, unit: str, verbose: int
) -> Iterator[Item]:
    with counting(words, total, unit, verbose) as advance:
        for item in items:
            yield item
            advance()
