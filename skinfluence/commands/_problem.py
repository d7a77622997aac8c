"""From tables to a learning problem, checked and converted."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..exceptions import TableError
from ._choices import CLASSIFICATION
from ._header import check_header
from ._inputs import Inputs
from ._kinds import Column
from ._sources import check_columns, inputs_of, target_of
from ._tables import Table, quoted, read_table
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
    inputs : Inputs
        What of it the model is given.
    valid_table, test_table : Table or None
        The other tables, if given.
    """

    table: Table
    target: Target
    inputs: Inputs
    valid_table: Table | None = None
    test_table: Table | None = None

    @property
    def X(self) -> Any:
        """The model's input, an array or CSR matrix of float32."""
        return self._inputs_of_all[0]

    @property
    def valid(self) -> Rows | None:
        """Input and target of the validation table."""
        return self._inputs_of_all[1]

    @property
    def test(self) -> Rows | None:
        """Input and target of the test table."""
        return self._inputs_of_all[2]

    @cached_property
    def _inputs_of_all(self) -> tuple[Any, Rows | None, Rows | None]:
        """What a model is given of each table, made when it is asked for first.

        Features of pictures take longer than many a search for faults without a model.
        """
        X = self.inputs.fit(self.table)
        return X, self._rows_of(self.valid_table), self._rows_of(self.test_table)

    def _rows_of(self, table: Table | None) -> Rows | None:
        if table is None:
            return None
        return self.inputs.transform(table), read_same_target(table, self.target)

    @property
    def called(self) -> str:
        """What the samples are called: rows, or pictures."""
        return self.table.file.rows

    @property
    def columns(self) -> Sequence[Column]:
        """The other columns than the target, with their kinds."""
        return self.inputs.columns

    def shown(self, table: Table) -> Any:
        """Return rows to display."""
        return self.inputs.shown(table, self.target.name)

    def without(self, names: Sequence[str]) -> "Problem":
        """Return the problem of a model that is not given some of the columns."""
        if not names:
            return self
        return replace(self, inputs=self.inputs.without(names))


def read_problem(options: Namespace) -> Problem:
    """Read and check the tables of the options."""
    table, name = _read(options.table, options), target_of(options)
    check_columns(table, name, options)
    check_header(table, name)
    table = with_target(table, name)
    target = read_target(table, name, options.task)
    inputs = inputs_of(table, name, options)
    valid, test = (
        None if path is None else inputs.read(_other_table(table, path, name, options))
        for path in (options.valid, options.test)
    )
    for other in filter(None, (valid, test)):
        read_same_target(other, target)  # refuses what it cannot be
    return Problem(inputs.read(table), target, inputs, valid, test)


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


def _read(path: Path, options: Namespace) -> Table:
    return read_table(
        path, encoding=options.encoding, sample=options.sample, seed=options.seed
    )


def _other_table(training: Table, path: Path, target: str, options: Namespace) -> Table:
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
    return with_target(table, target)
