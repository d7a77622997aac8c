"""Signals that end a command: an exception where they arrive, and an exit code."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from .._interrupts import Interrupted

# Those of Ctrl-C, of kill and of a terminal that is closed; not all systems have all.
_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
]


class Stopping:
    """Raises `Interrupted` inside the block on a signal, and remembers it.

    A signal that the caller ignores, or has a handler of its own for, is left to it.

    Attributes
    ----------
    signal : int or None
        The first signal that arrived.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # Python handles signals in its main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                before = signal.getsignal(number)
                if before in (signal.SIG_DFL, signal.default_int_handler):
                    self._before[number] = before
                    signal.signal(number, self._stop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number
        raise Interrupted

    def check(self) -> None:
        """Raise the exception again if there was one.

        Python drops those that are raised while it removes an object, for instance.
        """
        if self.signal is not None:
            raise Interrupted

    @property
    def exit_code(self) -> int:
        """What shells take an end by this signal for."""
        return 128 + (self.signal or signal.SIGINT)
