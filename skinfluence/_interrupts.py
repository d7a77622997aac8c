"""Interrupts (Ctrl-C) and SIGTERM: told apart from other ends, and kept waiting.

What SIGTERM does is the program's choice, which a library leaves alone. By default it
ends the process at once, as a kill does: a run on disk can then be resumed from its
last state there. Where the program handles it by an exception, as in `exiting`, a run
is closed on a whole step.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any


class Interrupted(KeyboardInterrupt):
    """An interrupt from outside. skorch's callbacks raise KeyboardInterrupt too.

    It is how EarlyStopping ends a training.
    """


class _Gate:
    """The handler of signals in a loop: passes them on, or holds them for a while.

    Exchanging handlers around each step of a small network takes a twentieth of it.
    """

    def __init__(self, handlers: Mapping[int, Callable[..., Any]]) -> None:
        self.handlers = handlers
        self.holds = False
        self.waiting: list[tuple[Any, ...]] = []
        self.interrupts: list[KeyboardInterrupt] = []

    def __call__(self, *arguments: Any) -> None:
        if self.holds:
            self.waiting.append(arguments)
            return
        try:
            self.handlers[arguments[0]](*arguments)
        except KeyboardInterrupt as interrupt:
            self.interrupts.append(interrupt)
            raise Interrupted from interrupt

    def __enter__(self) -> None:
        self.holds = True

    def __exit__(self, *raised: object) -> None:
        """Pass on what came while the gate held."""
        self.holds = False
        if self.waiting:
            first, self.waiting = self.waiting[0], []
            self(*first)


# Those in place, innermost last. Python interrupts its main thread only.
_gates: list[_Gate] = []


@contextmanager
def _gate() -> Iterator[_Gate]:
    """Let signals in which Python has a part go through a gate inside the block."""
    gate = _Gate(_handlers())
    _gates.append(gate)
    try:
        for number in gate.handlers:
            signal.signal(number, gate)
        yield gate
    finally:
        _gates.remove(gate)
        for number, handler in gate.handlers.items():
            signal.signal(number, handler)


@contextmanager
def told_apart() -> Iterator[None]:
    """Raise an interrupt inside the block as `Interrupted`, whatever becomes of it.

    Python drops what is raised while it removes an object, and other code may turn it
    into another error.
    """
    if not _is_main():
        yield
        return
    with _gate() as gate:
        try:
            yield
            if gate.interrupts:
                raise Interrupted from gate.interrupts[0]
        except Exception as error:
            if gate.interrupts:
                raise Interrupted from error
            raise


def deferred_interrupts() -> AbstractContextManager[object]:
    """Let interrupts, and SIGTERM where Python handles it, wait for the block's end.

    In a loop that tells them apart its gate holds them. A handler that a callback sets
    there is called at once.
    """
    if not _is_main():
        return nullcontext()
    if not _gates:
        return _deferred_by_own_gate()
    gate = _gates[-1]
    return nullcontext() if gate.holds else gate


@contextmanager
def _deferred_by_own_gate() -> Iterator[None]:
    with _gate() as gate, gate:
        yield


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
    """Return what is called by signals in which Python has a part."""
    found = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    return {n: call for n, call in found.items() if callable(call)}


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
