"""A function in a fork of this process: watched, limited, struck by signals."""

import faulthandler
import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from typing import Any

HANG, DIED, RAISED = "hang", "died", "raw error"

Answer = list[str]
"""An outcome and its detail."""


class Fork:
    """A function that runs in a fork of this process and returns an answer.

    Parameters
    ----------
    function : callable
        It returns what JSON can hold.
    *arguments : object
        Its arguments.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._reader, writer = os.pipe()
        self._stack = os.memfd_create("stack")
        self.pid = os.fork()
        if not self.pid:
            faulthandler.register(signal.SIGUSR1, file=self._stack)
            _answer(writer, function, arguments)
        os.close(writer)

    def strike(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def answer(self, timeout: float = 600.0) -> Any:
        """Return what the function returned, or how it ended otherwise.

        Only what hangs takes the `timeout`, in seconds, however busy the machine is.
        """
        data, until = b"", time.monotonic() + timeout
        while select.select([self._reader], [], [], max(0, until - time.monotonic()))[
            0
        ]:
            part = os.read(self._reader, 1 << 16)
            if not part:
                break
            data += part
        else:
            where = self._where()
            self.strike(signal.SIGKILL)
            self._end()
            return [HANG, f"for {timeout:.0f} s, {where}"]
        code = self._end()
        return json.loads(data) if data else [DIED, str(code)]

    def _where(self) -> str:
        """Return where the function is."""
        self.strike(signal.SIGUSR1)
        time.sleep(0.5)
        return os.pread(self._stack, 2000, 0).decode()

    def _end(self) -> int:
        os.close(self._reader)
        os.close(self._stack)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _answer(writer: int, function: Callable[..., Any], arguments: Any) -> None:
    """Call the function, write its answer, and end without any clean-up."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)
    try:
        found = function(*arguments)
    except BaseException as error:
        found = described(error)
    os.write(writer, json.dumps(found).encode())
    os._exit(0)


def described(error: BaseException) -> Answer:
    """Return an error as an answer."""
    return [RAISED, f"{type(error).__name__}: {error}"[:300]]


def limited(more: int) -> Callable[[], int]:
    """Limit this process's further memory; return what tells the most it has taken."""
    with open("/proc/self/statm") as file:
        pages = [int(number) for number in file.read().split()]
    size, resident = (number * resource.getpagesize() for number in pages[:2])
    resource.setrlimit(resource.RLIMIT_AS, (size + more, size + more))
    return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - resident
