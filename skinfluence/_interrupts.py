"""Interrupts (Ctrl-C) and SIGTERM: told apart from other ends, and kept waiting.

What SIGTERM does is the program's choice, which a library leaves alone. By default it
ends the process at once, as a kill does: a run on disk can then be resumed from its
last state there. Where the program handles it by an exception, as in `exiting`, a run
is closed on a whole step.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Interrupted(KeyboardInterrupt):
    """An interrupt from outside. skorch's callbacks raise KeyboardInterrupt too.

    It is how EarlyStopping ends a training.
    """


@contextmanager
def told_apart() -> Iterator[None]:
    """Raise an interrupt inside the block as `Interrupted`, whatever becomes of it.

    Python drops what is raised while it removes an object, and other code may turn it
    into another error.
    """
    handler = _handlers().get(signal.SIGINT)
    if handler is None:
        yield
        return
    arrived: list[KeyboardInterrupt] = []

    def tell(*arguments: Any) -> None:
        try:
            handler(*arguments)
        except KeyboardInterrupt as interrupt:
            arrived.append(interrupt)
            raise Interrupted from interrupt

    signal.signal(signal.SIGINT, tell)
    try:
        yield
        if arrived:
            raise Interrupted from arrived[0]
    except Exception as error:
        if arrived:
            raise Interrupted from error
        raise
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Let interrupts, and SIGTERM where Python handles it, wait for the block's end."""
    handlers = _handlers()
    waiting: list[tuple[Any, ...]] = []
    for number in handlers:
        signal.signal(number, lambda *arguments: waiting.append(arguments))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if waiting:
            handlers[waiting[0][0]](*waiting[0])


@contextmanager
def exiting() -> Iterator[None]:
    """Let SIGTERM raise SystemExit inside the block, for a program of one's own.

    The exit status is 143, as a shell tells of a process that SIGTERM has ended. A
    handler that somebody has set stays.
    """
    default = _is_main() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if default:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        if default:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _handlers() -> dict[int, Callable[..., Any]]:
    """Return what is called by signals in which Python has a part.

    Python interrupts its main thread only.
    """
    numbers = (signal.SIGINT, signal.SIGTERM) if _is_main() else ()
    found = {number: signal.getsignal(number) for number in numbers}
    return {number: call for number, call in found.items() if callable(call)}


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
