"""The command line `skinfluence`."""

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import exceptions
from .._outputs import is_stdout
from ._arguments import make_parser
from ._console import flush, note, tell
from ._outcome import Command, Outcome, check_new, unwritable
from ._stopping import Stopping

UNEXPECTED, BAD_INPUT = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``skinfluence``.

    Parameters
    ----------
    arguments : sequence of str, optional
        The arguments, such as ``["audit", "train.csv", ...]``; by default those of the
        command line.

    Returns
    -------
    int
        The exit code: 0 for success, 3 where ``check`` finds more than it allows, 2 for
        invalid input, 1 for any other error, and 130 after an interrupt (143 after
        SIGTERM). Unless it is 0 or 3, no file is written.

    Raises
    ------
    SystemExit
        After ``--help`` or ``--version`` (code 0), and for invalid arguments (code 2).

    Examples
    --------
    >>> from skinfluence.commands import main
    >>> main(["audit", "nothing.csv", "--target", "income", "--report", "report.html"])
    2
    """
    try:
        options = make_parser().parse_args(arguments)
    except SystemExit:  # after --help, for instance
        flush()
        raise
    options.arguments = list(sys.argv[1:] if arguments is None else arguments)
    stopping = Stopping()
    before = _identity(options.path)
    try:
        with stopping, warnings.catch_warnings():
            # Other libraries' warnings are about code that this user did not write.
            if not options.debug:
                warnings.simplefilter("ignore")
            _announce(warnings)
            return _carry_out(options, stopping)
    except (KeyboardInterrupt, Exception) as error:
        # Code that a signal's exception passes through may turn it into another error.
        if stopping.signal is None and not isinstance(error, KeyboardInterrupt):
            return _failed(error, options.debug)
        # A signal that arrives when the file is there has come too late.
        if _identity(options.path) == before:
            note("interrupted")
            return stopping.exit_code
        return 0


# Imported late: torch alone takes seconds, and --help and wrong usage need nothing.


def audit(options: argparse.Namespace) -> Command:
    """Make the report."""
    from ._audit import audit

    return _on_threads(audit, options)


def clean(options: argparse.Namespace) -> Command:
    """Clean the table."""
    from ._clean import clean

    return _on_threads(clean, options)


def check(options: argparse.Namespace) -> Command:
    """Look for faults, and compare them with what is allowed."""
    from ._check import check

    return _on_threads(check, options)


def _on_threads(
    run: Callable[[argparse.Namespace], Command], options: argparse.Namespace
) -> Command:
    """Do the work on a chosen number of threads, and put torch's setting back.

    By default on one. The steps of so small networks are too short to be divided: on
    two threads they are hardly faster, and on a busy machine they wait for each other.
    """
    from ..trajectory import on_threads

    told = "OMP_NUM_THREADS" in os.environ
    with on_threads(options.threads or (None if told else 1)):
        return (yield from run(options))


def _carry_out(options: argparse.Namespace, stopping: Stopping) -> int:
    """Do the work and write its file; what was done is said when it is there."""
    path = options.path
    out = sys.stderr if path is not None and is_stdout(path) else sys.stdout
    run = {"audit": audit, "clean": clean, "check": check}[options.command]
    command: Command = run(options)
    try:
        while True:
            line = next(command)
            if not options.quiet:
                tell(line, out)
    except StopIteration as end:
        outcome: Outcome = end.value
    stopping.check()
    if path is not None:
        check_new(path, options.force)
        try:
            outcome.write()
        except OSError as error:
            raise unwritable(path, error) from error
    for line in outcome.lines:
        tell(line, out)
    return outcome.exit_code


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Return what tells the file of this name from the one that takes its place."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _announce(module: Any) -> None:
    """Show the library's warnings on the standard error, one line each."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        note(f"note: {message}")

    for name in exceptions.__all__:
        kind = getattr(exceptions, name)
        if issubclass(kind, Warning):
            module.simplefilter("once", kind)
    module.showwarning = show


def _failed(error: Exception, debug: bool) -> int:
    """Tell of an error; return the exit code."""
    if debug:
        for line in "".join(traceback.format_exception(error)).splitlines():
            note(line)
    if isinstance(error, exceptions.SkinfluenceError):
        note(f"error: {error}")
        return BAD_INPUT
    name = type(error).__name__
    note(f"error: unexpected {name}: {error} (--debug shows where)")
    return UNEXPECTED
