"""The command `clean`: remove rows of a table, or correct their labels."""

import os
from argparse import Namespace
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from .._outputs import is_stream, new_output
from ..cleaning import Decisions, not_run
from ..exceptions import TableError
from ._cells import texts
from ._choice import FRACTIONS, as_count, check_rounds, choose, n_choice_fits
from ._choices import CLASSIFICATION
from ._cleaning import Cleaning, cleaned_rows
from ._judge import judge, measure_name, n_fits
from ._models import default_epochs, make_model
from ._outcome import Command, Outcome, check_apart, check_new
from ._problem import Problem, make_folds, read_problem
from ._progress import epoch_bar
from ._readers import check_readers, merged
from ._sources import tables_of
from ._tables import MOST_LISTED, is_folder, listed, quoted, table_format
from ._words import introduce

_MOST_REMOVED = 0.75


def clean(options: Namespace) -> Command:
    """Clean the table."""
    _check_output(options.table, options.path)
    for path in filter(None, (options.path, options.changes)):
        check_new(path, options.force)
    _check_apart(options)
    check_readers(options)
    problem = read_problem(options)
    yield from introduce(problem)
    decided: Cleaning | None = None
    agreed: list[str] = []
    if options.decisions is not None:
        decided, agreed = merged(problem, options.decisions, options.conflicts)
    elif options.n_remove != "auto":
        _check_count(problem, as_count(options.n_remove, len(problem.table)))
    folds = make_folds(problem.target, options.seed)
    if decided is None:
        check_rounds(options.n_rounds, options.n_remove, folds)
    # Not if a validation table takes their place, nor after a choice, which scored on
    # the folds already.
    judges = folds if decided is not None and problem.valid_table is None else None
    total = n_fits(problem, judges)
    if decided is None:
        total += n_choice_fits(problem, len(FRACTIONS), folds, options.n_rounds)
    epochs = options.epochs or default_epochs(len(problem.table))
    with epoch_bar(total * epochs, options.quiet) as progress:
        model = make_model(problem, options, progress.callbacks)
        if decided is None:
            cleaning, chosen = choose(
                problem, model, options.n_remove, folds, options.n_rounds
            )
        else:
            cleaning, chosen = decided, []
        _check_left(problem, cleaning)
        changes = judge(problem, model, cleaning, judges, repeat=decided is not None)
    measure = measure_name(problem)
    return Outcome(
        lambda: _write(problem, cleaning, options),
        [
            *agreed,
            *chosen,
            *_done(problem, cleaning),
            *_where_all_are(cleaning, options.changes),
            *(line for change in changes for line in change.lines(measure)),
            f"{problem.table.n_total - len(cleaning.removed):,} "
            f"{problem.called} written to {options.path}.",
        ],
    )


def _check_output(table: Path, output: Path) -> None:
    """Refuse an output of another format than the table; a folder must be new."""
    if is_folder(table):
        if os.path.exists(output) or output.resolve().is_relative_to(table.resolve()):
            raise TableError(
                f"--output must name a new folder outside of {table.name!r}, got "
                f"{str(output)!r}."
            )
    elif not is_stream(output) and table_format(output) != table_format(table):
        raise TableError(
            f"--output must have the format of {table.name!r}, got {output.name!r}."
        )


def _check_apart(options: Namespace) -> None:
    """Refuse to replace what is read; the table itself may be."""
    _, *others = tables = tables_of(options)
    decisions = [("the decisions", path) for path in options.decisions or ()]
    check_apart("--output", options.path, [*others, *decisions])
    if options.changes is not None:
        written = [*tables, *decisions, ("the output", options.path)]
        check_apart("--changes", options.changes, written)


def _write(problem: Problem, cleaning: Cleaning, options: Namespace) -> None:
    rows = problem.table.rows
    with ExitStack() as stack:
        # The list takes its name once the table has its own: both are there, or none.
        if options.changes is not None:
            file = stack.enter_context(new_output(options.changes))
            _changes(problem, cleaning).to_csv(file, index=False)
        problem.table.file.copy(
            options.path,
            set(rows[cleaning.removed].tolist()),
            {int(rows[row]): label for row, label in cleaning.relabelled.items()},
            problem.target.name,
        )


def _check_count(problem: Problem, count: int) -> None:
    n_rows = len(problem.table)
    if count >= n_rows:
        raise TableError(
            f"--n-remove must be below the number of {problem.called} "
            f"({n_rows:,}), got {count:,}."
        )
    # In each fold a fifth of the rows is held out once more, and not ranked.
    if problem.valid_table is None and count > _MOST_REMOVED * n_rows:
        raise TableError(
            f"--n-remove must be at most {_MOST_REMOVED:.0%} of the {problem.called} "
            f"({int(_MOST_REMOVED * n_rows):,}) without --valid, got {count:,}."
        )


def _changes(problem: Problem, cleaning: Cleaning) -> pd.DataFrame:
    """Return what is done to which rows, as decisions that can be passed on."""
    nobody = np.array([], dtype=np.intp)
    done = Decisions(nobody, cleaning.removed, dict(cleaning.relabelled))
    frame = done.to_frame(problem.shown(problem.table), problem.target.y)
    places = [not_run(problem.table.places[row]) for row in frame["sample"]]
    frame.insert(0, problem.table.file.one_row, places)
    return frame


def _check_left(problem: Problem, cleaning: Cleaning) -> None:
    rows = np.arange(len(problem.table))
    left, y = cleaned_rows(problem.target.y, cleaning, rows)
    if len(left) == 0:
        raise TableError(
            f"The decisions must leave {problem.called}, but they remove all."
        )
    if problem.target.task == CLASSIFICATION and len(set(y.tolist())) < 2:
        raise TableError(
            f"The decisions must leave two labels or more in {problem.target.name!r}, "
            f"but only {quoted(set(y.tolist()))} would be left."
        )


def _done(problem: Problem, cleaning: Cleaning) -> Iterable[str]:
    if len(cleaning.removed):
        where = problem.table.where(cleaning.removed)
        n_removed = f"{len(cleaning.removed):,} {problem.called}"
        yield f"Removed: {n_removed} ({where})."
    else:
        yield "Removed: nothing."
    if cleaning.relabelled:
        # Numbers as in the file: 15917, not 15917.0.
        cells = texts(problem.table.frame[problem.target.name])
        moves = [
            f"{problem.table.where([row])} from {cells[row]} to {_as_it_stands(label)}"
            for row, label in sorted(cleaning.relabelled.items())
        ]
        n_relabelled = f"{len(moves):,} {problem.called}"
        yield f"Relabelled: {n_relabelled} ({listed(moves)})."


def _where_all_are(cleaning: Cleaning, changes: Path | None) -> list[str]:
    """Say where all changes are listed, if they are or should be."""
    if changes is not None:
        return [f"All changes are listed in {changes}."]
    many = max(len(cleaning.removed), len(cleaning.relabelled)) > MOST_LISTED
    return ["(--changes FILE lists them all.)"] if many else []


def _as_it_stands(label: object) -> str:
    whole = isinstance(label, float) and label.is_integer()
    return f"{label:.0f}" if whole else str(label)
