"""Decisions of people about samples: read, and checked against the data."""

import csv
import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..exceptions import DecisionsError
from ._fingerprint import data_fingerprint

COLUMNS = ("sample", "decision", "label", "fingerprint")
"""What a table of decisions holds."""

_WORDS = ("keep", "remove", "relabel")

# A label can be as long as a text.
_LONGEST_FIELD = 2**27


@dataclass(frozen=True, eq=False)
class Decisions:
    """What was decided about the samples of a data set.

    Parameters
    ----------
    kept : ndarray of int
        Rows of the samples that were looked at and are to stay as they are.
    removed : ndarray of int
        Rows of the samples to remove.
    relabelled : dict of int to object
        Row of each sample that gets another label, and that label (for a regressor the
        target), as it stands in y.

    See Also
    --------
    read_decisions : Reads them from a file.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfluence.cleaning import Decisions
    >>> decisions = Decisions(
    ...     kept=np.array([4]), removed=np.array([0, 7]), relabelled={2: "cat"}
    ... )
    >>> len(decisions)
    4
    """

    kept: np.ndarray
    removed: np.ndarray
    relabelled: dict[int, Any]

    def __len__(self) -> int:
        return len(self.kept) + len(self.removed) + len(self.relabelled)


def read_decisions(
    source: Any, X: Any, y: Any, *, regression: bool = False
) -> Decisions:
    """Read decisions about samples, and check that they are about this data.

    Parameters
    ----------
    source : str, path or DataFrame
        A CSV or JSON file that an
        :class:`~skinfluence.inspection.AuditReport` has saved, or a table with its
        columns: ``sample`` (row number), ``decision`` (keep, remove or relabel),
        ``label`` (the new one) and ``fingerprint`` (of the data, by
        :func:`data_fingerprint`). Other columns, such as remarks, are not looked at.
    X : array-like of n_samples rows
        The samples: those that the estimator of the report was fitted on, or those
        that the report shows.
    y : array-like of shape (n_samples,)
        The labels or targets that they were given.
    regression : bool, default=False
        Whether the labels are any numbers, targets of a regressor; otherwise they must
        be labels that are in y.

    Returns
    -------
    Decisions
        Rows of the samples, and labels as they stand in y.

    Raises
    ------
    DecisionsError
        If the source cannot be read or is empty; if it names other data, a row out of
        range or twice, an unknown decision or an unknown label.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence.cleaning import data_fingerprint, read_decisions
    >>> X, y = load_iris(return_X_y=True)
    >>> table = pd.DataFrame(
    ...     {
    ...         "sample": [3, 70, 8],
    ...         "decision": ["remove", "relabel", "keep"],
    ...         "label": ["", "2", ""],
    ...         "fingerprint": data_fingerprint(X, y),
    ...     }
    ... )
    >>> decisions = read_decisions(table, X, y)
    >>> decisions.removed
    array([3])
    >>> decisions.relabelled
    {70: 2}
    """
    table, where = _table(source)
    _check_columns(table, where)
    _check_fingerprint(table, where, X, y)
    samples = _samples(table, where, len(y))
    words = table["decision"].map(str).str.strip().str.lower().to_numpy(dtype=object)
    strange = ~np.isin(words.astype(str), _WORDS)
    if strange.any():
        raise DecisionsError(
            f"The decisions in {where} must be {', '.join(_WORDS[:2])} or "
            f"{_WORDS[2]}, got {words[strange][0]!r} for sample "
            f"{samples[strange][0]}."
        )
    find = _number if regression else _finder(np.asarray(y))
    relabelled = {}
    for row in np.flatnonzero(words == "relabel"):
        label = _text(table["label"].iloc[row])
        relabelled[int(samples[row])] = find(label, where, int(samples[row]))
    return Decisions(samples[words == "keep"], samples[words == "remove"], relabelled)


def _table(source: Any) -> tuple[pd.DataFrame, str]:
    """Return the table, and what to call it."""
    if isinstance(source, pd.DataFrame):
        return source, "the table"
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            "`decisions` must be the path of a CSV or JSON file or a DataFrame, got "
            f"{type(source).__name__}."
        )
    where = repr(os.fspath(source))
    try:
        text = Path(source).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DecisionsError(
            f"The file of decisions {where} cannot be read: "
            f"{error.strerror or error}. Give the file that the report saved."
        ) from error
    except UnicodeDecodeError as error:
        raise DecisionsError(
            f"The file of decisions {where} must be UTF-8 text, but byte "
            f"{error.start} is not. Save it as 'CSV UTF-8'."
        ) from error
    if not text.strip():
        raise DecisionsError(
            f"The file of decisions {where} is empty. Save it from the report again."
        )
    read = _from_json if text.lstrip().startswith(("{", "[")) else _from_csv
    try:
        return read(text), where
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise DecisionsError(
            f"The file of decisions {where} cannot be read: {error}. Save it from the "
            "report again, as CSV or JSON."
        ) from error


def _from_json(text: str) -> pd.DataFrame:
    content = json.loads(text)
    rows = pd.DataFrame(content["decisions"], columns=list(COLUMNS[:3]), dtype=object)
    # What stands in a CSV file after an apostrophe stands here as it is.
    rows["label"] = [_text(v) and f"'{_text(v)}" for v in rows["label"]]
    return rows.assign(fingerprint=content["fingerprint"])


def _from_csv(text: str) -> pd.DataFrame:
    header = text.splitlines()[0]
    # Some spreadsheets save with the separator of their country.
    separator = next((mark for mark in ",;\t" if mark in header), ",")
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        names, *rows = [line for line in lines if any(line)]
    finally:
        csv.field_size_limit(before)
    if any(len(row) != len(names) for row in rows):
        raise ValueError("its lines have different numbers of fields")
    return pd.DataFrame(rows, columns=[name.strip() for name in names], dtype=object)


def _check_columns(table: pd.DataFrame, where: str) -> None:
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise DecisionsError(
            f"The decisions in {where} must have the columns {', '.join(COLUMNS)}, but "
            f"there is no {', '.join(missing)}."
        )
    if table.empty:
        raise DecisionsError(
            f"There must be at least one decision in {where}, got none. Mark samples "
            "in the report before saving."
        )


def _check_fingerprint(table: pd.DataFrame, where: str, X: Any, y: Any) -> None:
    given = {_text(value) for value in table["fingerprint"]}
    if len(given) != 1:
        raise DecisionsError(
            f"The decisions in {where} must all be about the same data, got "
            f"{len(given)} fingerprints."
        )
    own = data_fingerprint(X, y)
    if own not in next(iter(given)).split("+"):
        raise DecisionsError(
            f"The decisions in {where} are about other data: their fingerprint is "
            f"{next(iter(given))!r}, that of X and y is {own!r}. Give the samples and "
            "labels of the report, all of them, in the same order."
        )


def _samples(table: pd.DataFrame, where: str, n_samples: int) -> np.ndarray:
    """Return the row numbers, each named once."""
    numbers = pd.to_numeric(table["sample"], errors="coerce").to_numpy(np.float64)
    valid = (numbers >= 0) & (numbers < n_samples) & (numbers % 1 == 0)
    if not valid.all():
        got = table["sample"].iloc[int(np.flatnonzero(~valid)[0])]
        raise DecisionsError(
            f"The samples in {where} must be row numbers from 0 to {n_samples - 1}, "
            f"got {got!r}."
        )
    samples = numbers.astype(np.intp)
    values, counts = np.unique(samples, return_counts=True)
    if (counts > 1).any():
        raise DecisionsError(
            f"The decisions in {where} must name each sample once, got sample "
            f"{values[counts > 1][0]} {counts.max()} times."
        )
    return samples


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _readings(label: str) -> list[str]:
    """Return what a label may mean, the likeliest first.

    Where a spreadsheet would take it for a formula, it stands after an apostrophe.
    """
    return [label[1:], label] if label.startswith("'") else [label]


def _finder(y: np.ndarray) -> Callable[[str, str, int], Any]:
    """Return what finds a label of y by how it is written."""
    classes = np.unique(y).tolist()
    written: Mapping[str, Any] = {str(label): label for label in classes}
    numbers = {
        float(label): label for label in classes if isinstance(label, (int, float))
    }

    def find(label: str, where: str, sample: int) -> Any:
        for reading in _readings(label):
            if reading in written:
                return written[reading]
        # Spreadsheets and frames write 3 as 3.0.
        value = _float(label)
        if value in numbers:
            return numbers[value]
        known = ", ".join(repr(name[:40]) for name in list(written)[:10])
        raise DecisionsError(
            f"The labels in {where} must be labels of y ({known}"
            f"{', …' if len(written) > 10 else ''}), got {label[:40]!r} for sample "
            f"{sample}."
        )

    return find


def _number(label: str, where: str, sample: int) -> float:
    value = _float(label)
    if value is None or not np.isfinite(value):
        raise DecisionsError(
            f"The labels in {where} must be numbers, as targets are, got "
            f"{label[:40]!r} for sample {sample}."
        )
    return value


def _float(label: str) -> float | None:
    for reading in _readings(label):
        try:
            return float(reading)
        except ValueError:
            continue
    return None
