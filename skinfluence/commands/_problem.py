"""From tables to a problem of learning: what is asked, checked and made ready."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.compose import ColumnTransformer

from ..exceptions import TableError
from ._columns import (
    TEXT,
    UNUSED,
    Column,
    convert,
    convert_to_show,
    describe_columns,
    preprocessor,
)
from ._tables import Table, check_column, quoted, read_table
from ._target import Target, read_same_target, read_target

Rows = tuple[Any, np.ndarray]
"""The input of a model, and the target."""


@dataclass(frozen=True)
class Problem:
    """A table, what is to be predicted, and the input made of it.

    Attributes
    ----------
    table : Table
        The training table.
    target : Target
        Its target.
    columns : list of Column
        How its other columns are taken.
    transformer : ColumnTransformer
        What makes them the input.
    X : ndarray or CSR matrix of shape (n_rows, n_features), float32
        The input.
    valid, test : tuple of array-like and ndarray, or None
        Input and target of the other tables, where there are any.
    valid_table : Table or None
        The validation table.
    files : dict of str to str
        What each table is for, and its name and size.
    """

    table: Table
    target: Target
    columns: Sequence[Column]
    transformer: ColumnTransformer
    X: Any
    valid: Rows | None = None
    test: Rows | None = None
    valid_table: Table | None = None
    files: dict[str, str] = field(default_factory=dict)

    def shown(self, table: Table) -> Any:
        """Return rows as a reader knows them: a frame, or texts if there is no more."""
        frame = convert_to_show(table, self.target.name)
        if [column.kind for column in self.columns] == [TEXT] and frame.shape[1] == 1:
            return frame.iloc[:, 0].fillna("").tolist()
        return frame

    @property
    def feature_names(self) -> list[str]:
        """The names of the model's features."""
        return [str(name) for name in self.transformer.get_feature_names_out()]

    @property
    def notes(self) -> list[str]:
        """What was noticed in the columns."""
        return [
            column.note + (", not used" if column.kind == UNUSED else "")
            for column in self.columns
            if column.note
        ]


def read_problem(options: Namespace) -> Problem:
    """Read and check all that is asked for."""
    table = read_table(
        options.table,
        encoding=options.encoding,
        sample=options.sample,
        seed=options.seed,
    )
    names = [str(name) for name in table.file.columns]
    for name in [options.target, *options.drop]:
        check_column(name, names, table.name)
    if options.target in options.drop:
        raise TableError(f"The target {options.target!r} cannot be dropped.")
    target = read_target(table, options.target, options.task)
    used = [name for name in names if name not in {options.target, *options.drop}]
    if not used:
        raise TableError(
            f"{table.name!r} has no column beside the target {options.target!r}."
        )
    columns = describe_columns(table, used)
    transformer = preprocessor(columns)
    X = _input(transformer.fit_transform(convert(table, columns)))
    problem = Problem(table, target, columns, transformer, X)
    problem.files["training"] = described(table)
    if options.valid is not None:
        valid = _other_table(problem, options.valid, options, "validation")
        problem = replace(problem, valid=_rows(problem, valid), valid_table=valid)
    if options.test is not None:
        test = _other_table(problem, options.test, options, "test")
        problem = replace(problem, test=_rows(problem, test))
    return problem


def described(table: Table) -> str:
    """Return the name and the size of a table."""
    size = f"{len(table):,} rows"
    if len(table) < table.n_total:
        size += f" drawn at random from {table.n_total:,}"
    return f"{table.name}: {size}, {table.frame.shape[1]} columns"


def _other_table(problem: Problem, path: Path, options: Namespace, role: str) -> Table:
    """Return a further table, which must have the same columns."""
    table = read_table(path, encoding=options.encoding)
    names = {str(name) for name in table.file.columns} - set(options.drop)
    own = {str(name) for name in problem.table.file.columns} - set(options.drop)
    if names != own:
        lacking, extra = sorted(own - names), sorted(names - own)
        found = [f"lacks {quoted(lacking)}"] if lacking else []
        found += [f"has {quoted(extra)} as well"] if extra else []
        raise TableError(
            f"{table.name!r} must have the columns of {problem.table.name!r}, but it "
            f"{' and '.join(found)}."
        )
    problem.files[role] = described(table)
    return table


def _rows(problem: Problem, table: Table) -> Rows:
    y = read_same_target(table, problem.target)
    frame = convert(table, problem.columns)
    return _input(problem.transformer.transform(frame)), y


def _input(made: Any) -> Any:
    return made.astype(np.float32) if sparse.issparse(made) else made.astype("f4")
