"""Descriptions of a problem, for the standard output and the report."""

import unicodedata
from collections.abc import Iterator

import numpy as np

from ..estimators import extreme_targets
from ._choices import CLASSIFICATION
from ._codes import possible_codes
from ._issues import giveaways
from ._picture_folder import PictureFolder
from ._problem import Problem
from ._tables import Table, listed

_WIDEST = 40  # characters of a column's name that still keep the kinds aligned


def introduce(problem: Problem) -> Iterator[str]:
    """Yield what was read, and how it was interpreted."""
    for name, table in _tables(problem).items():
        yield f"{name}: {table}"
    yield f"Target: {_target(problem)}"
    yield from _left_out(problem)
    asked = " (--column name=kind chooses another kind)" * (not problem.inputs.alone)
    yield f"Columns{asked}:"
    width = min(max(len(column.name) for column in problem.columns), _WIDEST)
    for column in problem.columns:
        yield f"  {column.name:{width}}  {column.kind:8}  {column.why}"
    for line in warnings_on(problem):
        yield f"Note: {line}"
    for labels in look_alikes(problem):
        yield f"Note: the labels {labels} differ in spaces, capitals or code only."


def query_of(problem: Problem) -> str:
    """Return the query that wrong validation labels mislead least."""
    trusted = problem.valid_table is not None or problem.target.task != CLASSIFICATION
    return "loss" if trusted else "error"


def how_validated(problem: Problem, n_folds: int, n_runs: int) -> str:
    """Describe in a sentence what the influence is measured on."""
    rows = problem.called
    if problem.valid_table is not None:
        return (
            f"all {rows} are scored by {n_runs} models, trained on all of them, "
            "against the validation table"
        )
    measure = "loss"
    if query_of(problem) == "error":
        measure = "expected error (which wrong labels there mislead less than the loss)"
    return (
        f"the {rows} are divided into {n_folds} parts, and each is scored by the "
        f"{n_folds - 1} models that trained on it, each by the {measure} on the part "
        "that it did not see"
    )


def facts(problem: Problem) -> dict[str, str]:
    """Return the facts for the head of the report."""
    left_out, alike = _left_out(problem), look_alikes(problem)
    return {
        **_tables(problem),
        "Target": _target(problem),
        **({"Without a target": " ".join(left_out)} if left_out else {}),
        **problem.inputs.in_words(),
        **({"Nearly the same": "; ".join(alike)} if alike else {}),
    }


def warnings_on(problem: Problem) -> list[str]:
    """Return sentences on what makes the model say less about the rows."""
    known = [
        f"{name!r} alone gives {problem.target.name!r} away: --drop it, unless it is "
        "known before what it predicts."
        for name in giveaways(problem)
    ]
    codes = [
        f"{name!r} is taken as a number, but rows with neighbouring numbers are no "
        f"more alike than others: if it is a code, pass --column {name}=category."
        for name in possible_codes(problem)
    ]
    return known + codes + _extremes(problem)


def _extremes(problem: Problem) -> list[str]:
    """Return a sentence on gross errors among numbers to predict."""
    if problem.target.task == CLASSIFICATION:
        return []
    rows = np.flatnonzero(extreme_targets(problem.target.y))
    if not len(rows):
        return []
    return [
        f"{problem.target.name!r} is far from all others (more than 20 interquartile "
        f"ranges from the median) in {problem.table.where(rows)}: look at these first."
    ]


def look_alikes(problem: Problem) -> list[str]:
    """Return labels that are the same but for spaces, capitals and code points."""
    if problem.target.task != CLASSIFICATION:
        return []
    groups: dict[str, list[str]] = {}
    for label in np.unique(problem.target.y.astype(str)).tolist():
        groups.setdefault(_as_read(label), []).append(label)
    # Two ways to write an é are told apart by their code only.
    return [
        listed([ascii(label) for label in labels])
        for labels in groups.values()
        if len(labels) > 1
    ]


def _as_read(label: str) -> str:
    """Return a label as a reader sees it, who takes no notice of capitals."""
    seen = unicodedata.normalize("NFKC", label).casefold()
    # What has no width, such as a byte order mark, is not printable.
    return "".join(
        sign for sign in seen if sign.isprintable() or sign.isspace()
    ).strip()


def _tables(problem: Problem) -> dict[str, str]:
    tables = {
        "Training table": problem.table,
        "Validation table": problem.valid_table,
        "Test table": problem.test_table,
    }
    return {name: _size(table) for name, table in tables.items() if table is not None}


def _size(table: Table) -> str:
    drawn = table.n_drawn < table.n_total
    total = f" drawn at random from {table.n_total:,}" if drawn else ""
    said = f"{table.name}, {table.n_drawn:,} {table.file.rows}{total}"
    if isinstance(table.file, PictureFolder):
        return said
    return f"{said}, {table.frame.shape[1]} columns"


def _left_out(problem: Problem) -> list[str]:
    """Return sentences on the rows without a target."""
    tables = (problem.table, problem.valid_table, problem.test_table)
    return [
        f"{table.name} has {n:,} row{'s' * (n > 1)} without {problem.target.name}, "
        "left out here and copied as they are."
        for table in tables
        if table is not None and (n := table.n_drawn - len(table))
    ]


def _target(problem: Problem) -> str:
    target = problem.target
    return f"{target.name}, {target.task} ({target.why})"
