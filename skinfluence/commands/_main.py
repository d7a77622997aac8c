"""The command line `skinfluence`."""

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import exceptions
from .._outputs import is_stdout
from .._version import __version__
from ._choices import CLASSIFICATION, HIDDEN, KINDS, REGRESSION
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
        options = _parser().parse_args(arguments)
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
    command: Command = options.run(options)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skinfluence",
        description="Find the rows of a table that harm a model trained on it, review "
        "them, and remove them.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_audit(commands)
    _add_clean(commands)
    _add_check(commands)
    return parser


def _add_audit(commands: Any) -> None:
    command = commands.add_parser(
        "audit",
        help="write a report on the most suspicious rows, for review",
        description="Train models on the table, rank its rows by how much they harm "
        "predictions, and write a report on the worst, in which you decide what to "
        "remove or relabel.",
    )
    _add_table(command)
    command.add_argument(
        "--report",
        dest="path",
        type=Path,
        required=True,
        metavar="HTML",
        help="where to write the report",
    )
    command.add_argument(
        "--n", type=_positive, default=50, help="rows to show (default: 50)"
    )
    command.add_argument(
        "--slices",
        action="store_true",
        help="look for groups of rows that do harm together: with a value, in an "
        "interval, of a month, or two of these",
    )
    _add_model(command)
    command.set_defaults(run=audit)


def _add_clean(commands: Any) -> None:
    command = commands.add_parser(
        "clean",
        help="write the table without harmful rows",
        description="Write a copy of the table with your decisions applied, or without "
        "the most harmful rows. All other rows are copied verbatim.",
    )
    _add_table(command)
    how = command.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--decisions",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="decisions saved from the report (CSV or JSON); of several readers, a "
        "file of each",
    )
    how.add_argument(
        "--n-remove",
        type=_count_or_auto,
        metavar="N",
        help="how many of the most harmful rows to remove, or which fraction of the "
        "rows (such as 0.05); 'auto' chooses the number by cross-validation, 0 "
        "included",
    )
    command.add_argument(
        "--conflicts",
        choices=["refuse", "first", "keep"],
        help="where readers disagree: refuse the files (the default), take the first "
        "file's decision, or keep the row as it is",
    )
    command.add_argument(
        "--n-rounds",
        type=_positive,
        default=1,
        metavar="N",
        help="with --n-remove: remove the rows in so many parts, and train and rank "
        "anew after each (default: 1)",
    )
    command.add_argument(
        "--output",
        dest="path",
        type=Path,
        required=True,
        metavar="TABLE",
        help="where to write the cleaned table",
    )
    command.add_argument(
        "--changes",
        type=Path,
        metavar="CSV",
        help="where to list all rows that are removed or relabelled, as decisions",
    )
    _add_model(command)
    command.set_defaults(run=clean)


def _add_check(commands: Any) -> None:
    command = commands.add_parser(
        "check",
        help="look for faults of the data, and fail where there are too many",
        description="Look for copies, leakage, probably wrong labels, and columns that "
        "teach nothing or too much. The exit code is 3 where a bound is passed.",
    )
    _add_table(command)
    command.add_argument(
        "--fail-on",
        type=_bounds,
        default=[],
        metavar="BOUNDS",
        help="how much is too much, such as 'label_errors>0.02,duplicates>0': a whole "
        "number counts rows (or columns, or classes), a fraction is a share of the "
        "rows; by default nothing fails",
    )
    command.add_argument(
        "--only",
        nargs="+",
        action="extend",
        default=[],
        metavar="KIND",
        help="look for these kinds of faults only; no model is trained without "
        "label_errors",
    )
    command.add_argument(
        "--json",
        dest="path",
        type=Path,
        metavar="FILE",
        help="where to write what was found, for machines and as a baseline",
    )
    command.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="an earlier --json file: only what it does not have counts",
    )
    _add_model(command)
    command.set_defaults(run=check)


def _add_table(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "table", type=Path, help="the training table (.csv, .csv.gz or .parquet)"
    )
    command.add_argument("--target", required=True, help="the column to predict")
    command.add_argument(
        "--valid",
        type=Path,
        metavar="TABLE",
        help="trusted rows to validate on; by default the training table is divided "
        "into five folds",
    )
    command.add_argument(
        "--test",
        type=Path,
        metavar="TABLE",
        help="rows that are only used for the final scores",
    )
    command.add_argument(
        "--drop",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN",
        help="columns to hide from the model",
    )
    command.add_argument(
        "--column",
        nargs="+",
        action="extend",
        type=_kind_of_column,
        default=[],
        metavar="NAME=KIND",
        help=f"columns of another kind than their cells suggest: {', '.join(KINDS)}",
    )
    command.add_argument(
        "--task",
        choices=["auto", CLASSIFICATION, REGRESSION],
        default="auto",
        help="whether the target is a label or a quantity (default: by its values)",
    )
    command.add_argument(
        "--sample",
        type=_positive,
        metavar="N",
        help="use at most N rows of each table, drawn at random",
    )
    command.add_argument(
        "--encoding", default="utf-8", help="encoding of CSV files (default: utf-8)"
    )


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--module",
        choices=sorted(HIDDEN),
        default="mlp",
        help="the kind of model (default: mlp, a network with a hidden layer)",
    )
    command.add_argument(
        "--epochs",
        type=_positive,
        help="passes over the data (default: 20, more for small tables)",
    )
    command.add_argument(
        "--seed", type=_seed, default=0, help="random seed (default: 0)"
    )
    command.add_argument(
        "--force", action="store_true", help="overwrite existing files"
    )
    command.add_argument(
        "--threads",
        type=_positive,
        metavar="N",
        help="processor threads (default: OMP_NUM_THREADS, or 1, which is mostly the "
        "fastest for tables)",
    )
    command.add_argument(
        "--quiet", action="store_true", help="say only what came of it"
    )
    command.add_argument(
        "--debug", action="store_true", help="show the traceback of an error"
    )


def _kind_of_column(text: str) -> tuple[str, str]:
    name, _, kind = text.rpartition("=")
    if not name or kind not in KINDS:
        raise argparse.ArgumentTypeError(
            f"must be a name, '=' and one of {', '.join(KINDS)}, got {text!r}"
        )
    return name, kind


def _bounds(text: str) -> list[tuple[str, float]]:
    """Return the most of each kind: an int is a count, a float a share."""
    bounds: list[tuple[str, float]] = []
    for part in text.split(","):
        kind, _, number = (word.strip() for word in part.partition(">"))
        if number.isascii() and number.isdigit():
            bounds.append((kind, int(number)))
            continue
        with suppress(ValueError):
            if kind and 0 <= float(number) < 1:
                bounds.append((kind, float(number)))
                continue
        raise argparse.ArgumentTypeError(
            "must be kinds of faults, each with '>' and a whole number or a fraction "
            f"below 1, such as 'duplicates>0,label_errors>0.02', got {part!r}"
        )
    return bounds


def _positive(text: str) -> int:
    # isdigit alone accepts a superscript, which int does not.
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, got {text!r}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 0 to 2**32 - 1, got {text!r}"
        )
    return int(text)


def _count_or_auto(text: str) -> float | str:
    if text == "auto":
        return text
    if text.isascii() and text.isdigit():
        return int(text)
    with suppress(ValueError):
        if 0 <= float(text) < 1:
            return float(text)
    raise argparse.ArgumentTypeError(
        "must be a whole number, a fraction from 0 and below 1 (0.05 for 5 %), or "
        f"'auto', got {text!r}"
    )
