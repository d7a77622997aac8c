"""From tables to a learning problem, checked and converted."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer

from ..exceptions import TableError
from ._choices import CLASSIFICATION, TEXT, UNUSED
from ._columns import (
    convert,
    convert_to_show,
    describe_columns,
    preprocessor,
)
from ._header import check_header
from ._kinds import Column
from ._tables import Table, check_column, quoted, read_table
from ._target import Target, read_same_target, read_target, with_target

Rows = tuple[Any, np.ndarray]
"""The input of a model, and the target."""

N_FOLDS = 5

Folds = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Problem:
    """A table, its target, and the model's input.

    Attributes
    ----------
    table : Table
        The training table.
    target : Target
        Its target.
    columns : list of Column
        Its other columns, with their kinds.
    transformer : ColumnTransformer
        Converts them into the input.
    X : ndarray or CSR matrix of shape (n_rows, n_features), float32
        The input.
    valid, test : tuple of array-like and ndarray, or None
        Input and target of the other tables, if given.
    valid_table, test_table : Table or None
        Those tables.
    """

    table: Table
    target: Target
    columns: Sequence[Column]
    transformer: ColumnTransformer
    X: Any
    valid: Rows | None = None
    test: Rows | None = None
    valid_table: Table | None = None
    test_table: Table | None = None

    def shown(self, table: Table) -> Any:
        """Return rows to display: a frame, or texts if they are the only column."""
        frame = convert_to_show(table, self.target.name, self.columns)
        if [column.kind for column in self.columns] == [TEXT] and frame.shape[1] == 1:
            return frame.iloc[:, 0].fillna("").tolist()
        return frame.set_axis([table.where([row]) for row in range(len(table))])

    @property
    def words(self) -> list[str] | None:
        """The words that are the model's features, if texts are all that it sees."""
        if [column.kind for column in self.columns if column.kind != UNUSED] != [TEXT]:
            return None
        (vectorizer,) = self.transformer.named_transformers_.values()
        return [str(word) for word in vectorizer.get_feature_names_out()]

    def without(self, names: Sequence[str]) -> "Problem":
        """Return the problem of a model that is not given some of the columns."""
        columns = [column for column in self.columns if column.name not in names]
        return _converted(
            self.table, self.target, columns, self.valid_table, self.test_table
        )

    def rows_of(self, table: Table) -> Rows:
        """Return the rows of a further table as input and target."""
        y = read_same_target(table, self.target)
        X = self.transformer.transform(convert(table, self.columns))
        return X.astype(np.float32), y


def read_problem(options: Namespace) -> Problem:
    """Read and check the tables of the options."""
    table = _read(options.table, options)
    names = [str(name) for name in table.file.columns]
    kinds = _kinds(options)
    for name in [options.target, *kinds]:
        check_column(name, names, table.name)
    check_header(table, options.target)
    if options.target in kinds:
        raise TableError(
            f"The target {options.target!r} cannot be dropped, and has no kind but its "
            "--task."
        )
    table = with_target(table, options.target)
    target = read_target(table, options.target, options.task)
    used = [name for name in names if name not in {options.target, *options.drop}]
    if not used:
        raise TableError(
            f"{table.name!r} has no column besides the target {options.target!r}."
        )
    columns = describe_columns(table, used, kinds)
    valid, test = (
        None if path is None else _other_table(table, path, options)
        for path in (options.valid, options.test)
    )
    return _converted(table, target, columns, valid, test)


def _converted(
    table: Table,
    target: Target,
    columns: Sequence[Column],
    valid: Table | None,
    test: Table | None,
) -> Problem:
    """Return a problem with the input of a model that is given these columns."""
    transformer = preprocessor(columns)
    X = transformer.fit_transform(convert(table, columns)).astype(np.float32)
    problem = Problem(
        table, target, columns, transformer, X, valid_table=valid, test_table=test
    )
    return replace(
        problem,
        valid=None if valid is None else problem.rows_of(valid),
        test=None if test is None else problem.rows_of(test),
    )


def make_folds(target: Target, seed: int) -> Folds:
    """Return the rows to train on and those to validate on, for each fold.

    The folds are stratified as far as possible. The only row of a class is in every
    training set and never held out: no model could know its label otherwise.
    """
    n_rows = len(target.y)
    codes, counts = np.zeros(n_rows, dtype=np.intp), np.array([n_rows])
    if target.task == CLASSIFICATION:
        _, codes, counts = np.unique(target.y, return_inverse=True, return_counts=True)
    keys = np.random.RandomState(seed).uniform(size=n_rows)
    fold = np.empty(n_rows, dtype=np.intp)
    # Sorted by class, at random within each: every class is spread over all folds.
    fold[np.lexsort((keys, codes))] = np.arange(n_rows) % N_FOLDS
    fold[counts[codes] == 1] = -1
    return [
        (np.flatnonzero(fold != number), np.flatnonzero(fold == number))
        for number in range(N_FOLDS)
    ]


def _kinds(options: Namespace) -> dict[str, str]:
    """Return the kinds of columns that the options name."""
    return dict(options.column) | dict.fromkeys(options.drop, UNUSED)


def _read(path: Path, options: Namespace) -> Table:
    return read_table(
        path, encoding=options.encoding, sample=options.sample, seed=options.seed
    )


def _other_table(training: Table, path: Path, options: Namespace) -> Table:
    """Read a validation or test table, which must have the same columns."""
    table = _read(path, options)
    names = {str(name) for name in table.file.columns} - set(options.drop)
    expected = {str(name) for name in training.file.columns} - set(options.drop)
    if names != expected:
        lacking, extra = sorted(expected - names), sorted(names - expected)
        differences = [f"lacks {quoted(lacking)}"] if lacking else []
        differences += [f"has {quoted(extra)} as well"] if extra else []
        raise TableError(
            f"{table.name!r} must have the columns of {training.name!r}, but it "
            f"{' and '.join(differences)}."
        )
    return with_target(table, options.target)
