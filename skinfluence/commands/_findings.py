"""What a check found, in words and for machines."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._outputs import new_output
from .._version import __version__
from ..issues import NAMED_KINDS, row_digests
from ._issues import held_out_tables
from ._problem import Problem

FORMAT = 1
"""Of the JSON file."""


@dataclass(frozen=True)
class Found:
    """A fault of the tables.

    Attributes
    ----------
    kind : str
        Its kind.
    said, advice : str
        What was found and what to do, in words.
    where : str
        Where the rows are in their file.
    keys : sequence of str
        What is counted, and stays the same while the table grows: digests of rows, or
        the names of columns or classes.
    places : sequence of int or str
        Lines or rows of the training table, from 1, or paths of pictures.
    """

    kind: str
    said: str
    advice: str
    where: str
    keys: Sequence[str]
    places: Sequence[int | str]


def found_in(problem: Problem, issues: pd.DataFrame) -> list[Found]:
    """Return a table of issues with the places of their rows in the files."""
    return list(_found(problem, issues))


def _found(problem: Problem, issues: pd.DataFrame) -> Iterator[Found]:
    digests = _digests(problem) if issues["n_rows"].any() else []
    for issue in issues.to_dict("records"):
        kind, rows = issue["kind"], issue["rows"]
        named = kind in NAMED_KINDS
        yield Found(
            kind,
            issue["finding"],
            issue["advice"],
            _where(problem, kind, rows, issue["matches"]),
            list(issue["about"]) if named else [digests[row] for row in rows],
            problem.table.places[rows].tolist(),
        )


def _digests(problem: Problem) -> list[str]:
    """Return a digest of each training row, its target included."""
    frame = problem.inputs.cells(problem.table)
    # A name that no other column has.
    return row_digests(
        frame.assign(**{f"target {problem.target.name}": problem.target.y})
    )


def _where(problem: Problem, kind: str, rows: np.ndarray, matches: np.ndarray) -> str:
    if not len(rows) or kind == "rare_class":
        return ""
    where = problem.table.where(rows)
    if kind not in ("leakage", "near_leakage"):
        return where
    parts, start = [f"{where} of {problem.table.name}"], 0
    for table in held_out_tables(problem):
        own = matches[(matches >= start) & (matches < start + len(table))] - start
        if len(own):
            parts.append(f"{table.where(own)} of {table.name}")
        start += len(table)
    return "; ".join(parts)


def write_json(
    path: Path, problem: Problem, found: Sequence[Found], passed: Sequence[str]
) -> None:
    """Write what was found as JSON."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": __version__,
        "table": problem.table.name,
        "target": problem.target.name,
        "n_rows": len(problem.table),
        "failed": list(passed),
        "issues": [
            {
                "kind": each.kind,
                "finding": each.said,
                "advice": each.advice,
                "count": len(each.keys),
                "where": each.where,
                "places": list(each.places),
                "keys": list(each.keys),
            }
            for each in found
        ],
    }
    with new_output(path) as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")
