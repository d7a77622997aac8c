"""Interrupts (Ctrl-C): told apart from other ends, and kept waiting."""

import signal
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
    """Raise an interrupt inside the block as `Interrupted`."""
    handler = _handler()
    if handler is None:
        yield
        return

    def tell(*arguments: Any) -> None:
        try:
            handler(*arguments)
        except KeyboardInterrupt as interrupt:
            raise Interrupted from interrupt

    signal.signal(signal.SIGINT, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Raise an interrupt inside the block after it."""
    handler = _handler()
    if handler is None:
        yield
        return
    waiting: list[tuple[Any, ...]] = []
    signal.signal(signal.SIGINT, lambda *arguments: waiting.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if waiting:
            handler(*waiting[0])


def _handler() -> Callable[..., Any] | None:
    """Return what an interrupt calls; None where Python has no part in it.

    Python interrupts its main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    handler = signal.getsignal(signal.SIGINT)
    return handler if callable(handler) else None
