"""The arguments of the command line."""

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._version import __version__
from ._choices import CLASSIFICATION, HIDDEN, KINDS, REGRESSION


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="skinfluence",
        description="Find the rows of a table that harm a model trained on it, review "
        "them, and remove them.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )
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
        action="append",
        type=Path,
        metavar="FILE",
        help="decisions saved from the report (CSV or JSON); of several readers, once "
        "for each",
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
        help="where to write what was found, for other programs and as a --baseline: "
        "each fault with its kind, a sentence, its lines and its keys",
    )
    command.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="an earlier --json file: only what is new since then counts for "
        "--fail-on; rows are known by their cells, columns and classes by their names",
    )
    _add_model(command)


def _add_table(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "table",
        type=Path,
        help="the training table (.csv, .csv.gz or .parquet), or a folder with a "
        "folder of pictures for each class",
    )
    command.add_argument(
        "--target",
        metavar="COLUMN",
        help="the column to predict; pictures in folders need none",
    )
    alone = command.add_mutually_exclusive_group()
    alone.add_argument(
        "--image",
        metavar="COLUMN",
        help="learn from pictures alone, whose paths from the table's folder are in "
        "this column",
    )
    alone.add_argument(
        "--text", metavar="COLUMN", help="learn from the texts of this column alone"
    )
    command.add_argument(
        "--features",
        metavar="SOURCE:NAME",
        help="of pictures by a model of torchvision, of texts by one of "
        "sentence-transformers, if it is on this machine; by default they are learned "
        "from the data",
    )
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
