"""Descriptions of a problem, for the standard output and the report."""

from collections.abc import Iterator

import numpy as np

from ._columns import UNUSED, in_words
from ._problem import Problem
from ._tables import Table, quoted
from ._target import CLASSIFICATION


def introduce(problem: Problem) -> Iterator[str]:
    """Yield what was read, and how it was interpreted."""
    for name, table in _tables(problem).items():
        yield f"{name}: {table}"
    yield f"Target: {_target(problem)}"
    for column in problem.columns:
        if column.note:
            unused = ", and is not used" if column.kind == UNUSED else ""
            yield f"Note: column {column.note}{unused}."
    for labels in look_alikes(problem):
        yield f"Note: the labels {labels} differ in spaces or capitals only."


def query_of(problem: Problem) -> str:
    """Return the query that wrong validation labels mislead least."""
    trusted = problem.valid is not None or problem.target.task != CLASSIFICATION
    return "loss" if trusted else "error"


def how_validated(problem: Problem, n_folds: int, n_runs: int) -> str:
    """Describe in a sentence what the influence is measured on."""
    if problem.valid is not None:
        return (
            f"every row is scored by {n_runs} models, trained on all rows, against the "
            "validation table"
        )
    measure = "loss"
    if query_of(problem) == "error":
        measure = "expected error (which wrong labels there mislead less than the loss)"
    return (
        f"the rows are divided into {n_folds} parts, and every row is scored by the "
        f"{n_folds - 1} models that trained on it, each by the {measure} on the part "
        "that it did not see"
    )


def facts(problem: Problem) -> dict[str, str]:
    """Return the facts for the head of the report."""
    used = [column for column in problem.columns if column.kind != UNUSED]
    slips = "; ".join(column.note for column in used if column.note)
    return {
        **_tables(problem),
        "Target": _target(problem),
        **in_words(problem.columns),
        **({"Taken as missing": slips} if slips else {}),
        **(
            {"Nearly the same": "; ".join(alike)}
            if (alike := look_alikes(problem))
            else {}
        ),
    }


def look_alikes(problem: Problem) -> list[str]:
    """Return labels that are the same but for spaces and capitals."""
    if problem.target.task != CLASSIFICATION:
        return []
    groups: dict[str, list[str]] = {}
    for label in np.unique(problem.target.y.astype(str)).tolist():
        groups.setdefault(label.strip().casefold(), []).append(label)
    return [quoted(labels) for labels in groups.values() if len(labels) > 1]


def _tables(problem: Problem) -> dict[str, str]:
    tables = {
        "Training table": problem.table,
        "Validation table": problem.valid_table,
        "Test table": problem.test_table,
    }
    return {name: _size(table) for name, table in tables.items() if table is not None}


def _size(table: Table) -> str:
    drawn = len(table) < table.n_total
    total = f" drawn at random from {table.n_total:,}" if drawn else ""
    return f"{table.name}, {len(table):,} rows{total}, {table.frame.shape[1]} columns"


def _target(problem: Problem) -> str:
    target = problem.target
    return f"{target.name}, {target.task} ({target.why})"
