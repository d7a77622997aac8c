"""Work in a process of its own, forked from this one, which has torch."""

import io
import os
import sys
import time
import traceback
import warnings

from skinfluence.commands import main


def start(
    arguments,
    *,
    work=main,
    out=os.devnull,
    err=os.devnull,
    encoding="utf-8",
    before=None,
):
    """Run the command line, or other work, in a child; return its number.

    `out` and `err` are paths or descriptors.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = os.fork()
    if child:
        return child
    code = 99
    try:
        sys.stdout = _redirected(1, out, encoding)
        sys.stderr = _redirected(2, err, encoding)
        if before is not None:
            before()
        code = work([str(argument) for argument in arguments])
        # What Python does at its exit, where it cannot be caught any more.
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit as stopped:
        code = stopped.code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def end(child, seconds=600):
    """Return the exit code of a child, negative if a signal ended it.

    Only one that hangs takes so many seconds, however busy the machine is.
    """
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    raise TimeoutError


def run(arguments, **options):
    return end(start(arguments, **options))


def _redirected(number, target, encoding):
    if not isinstance(target, int):
        target = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(target, number)
    return io.TextIOWrapper(
        open(number, "wb", closefd=False), encoding=encoding, line_buffering=True
    )
