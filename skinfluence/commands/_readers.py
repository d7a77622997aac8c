"""The decisions of one or several readers, for a table."""

from argparse import Namespace
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from ..cleaning import Decisions, data_fingerprint, read_decisions
from ..exceptions import DecisionsError, TableError
from ._choices import REGRESSION
from ._cleaning import Cleaning
from ._outcome import same_file
from ._problem import Problem


def check_readers(options: Namespace) -> None:
    """Refuse options that do not go together, before the table is read."""
    paths: Sequence[Path] | None = options.decisions
    if paths is not None and options.n_rounds != 1:
        raise TableError(
            f"--n-rounds goes with --n-remove, got {options.n_rounds} with --decisions."
        )
    if options.conflicts is not None and (paths is None or len(paths) < 2):
        raise TableError(
            f"--conflicts {options.conflicts} goes with the --decisions of two readers "
            f"or more, got {len(paths or ())} files."
        )
    for one, other in combinations(paths or (), 2):
        if same_file(one, other):
            raise TableError(
                "--decisions must name a file of each reader, got "
                f"{str(other)!r} twice."
            )


def merged(
    problem: Problem, paths: Sequence[Path], conflicts: str | None
) -> tuple[Cleaning, list[str]]:
    """Return what was decided, and how far the readers agree."""
    readers = [_read(problem, path) for path in paths]
    pairs = combinations(zip(paths, readers, strict=True), 2)
    agreed = [_agreement(problem, *one, *other) for one, other in pairs]
    decided = readers[0]
    for path, reader in zip(paths[1:], readers[1:], strict=True):
        if conflicts is None or conflicts == "refuse":
            _refuse_conflicts(problem, decided, reader, path)
        decided = decided.merge(reader, conflicts=conflicts or "refuse")
    return Cleaning(np.sort(decided.removed), decided.relabelled), agreed


def _agreement(
    problem: Problem, one: Path, first: Decisions, other: Path, second: Decisions
) -> str:
    said = first.agreement(second).in_words(problem.called)
    copied = one.read_bytes() == other.read_bytes()
    doubt = " The files are the same: are they of two readers?" if copied else ""
    return f"Readers {one.name!r} and {other.name!r}: {said}{doubt}"


def _refuse_conflicts(
    problem: Problem, first: Decisions, second: Decisions, path: Path
) -> None:
    """Say where readers disagree by the lines of the table."""
    found = first.agreement(second)
    rows = found.conflicts["sample"].to_numpy(dtype=np.intp)
    if len(rows):
        raise TableError(
            f"The readers must agree, but {path.name!r} differs on {len(rows):,} of "
            f"{found.n_both:,} {problem.called} "
            f"({problem.table.where(rows)}): let them settle it, or pass --conflicts "
            "first (the first file's decision) or --conflicts keep (all as it is)."
        )


def _read(problem: Problem, path: Path) -> Decisions:
    shown, y = problem.shown(problem.table), problem.target.y
    regression = problem.target.task == REGRESSION
    try:
        return read_decisions(path, shown, y, regression=regression)
    except DecisionsError as error:
        if _about_others(path, data_fingerprint(shown, y)):
            raise TableError(
                f"The decisions in {path.name!r} are about another table "
                f"than {problem.table.name!r}, or about other rows of it: pass the "
                "table of `skinfluence audit`, with the same --target, --task, "
                "--sample and --seed."
            ) from error
        raise


def _about_others(path: Path, fingerprint: str) -> bool:
    """Return whether decisions carry fingerprints, but not this one."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # In the text, since the error may be that it cannot be parsed.
    return fingerprint[:5] in text and fingerprint not in text
