"""Reviewers' decisions about samples: read, and checked against the data."""

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.validation import _num_samples

from .._files import checksum
from ..exceptions import DecisionsError
from ._agreement import Agreement, Decided, agreement_of, listed_conflicts
from ._data import Samples
from ._decision_files import CHECK, DecisionTable, Source, read_table, text_of
from ._fingerprint import data_fingerprint

_WORDS = ("keep", "remove", "relabel")
CONFLICTS = ("refuse", "first", "keep")
"""What may become of samples on which two readers disagree."""

# A spreadsheet would run it, or an apostrophe hides that; as in the page of a report.
_FORMULA = re.compile(r"['\t\r\n]|\s*[=+\-@＝＋－＠]")
_PLAIN_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_CHECK = re.compile(r"v1-(\d{1,9})-([0-9a-f]{8})")


@dataclass(frozen=True, eq=False)
class Decisions:
    """Decisions about the samples of a data set.

    Parameters
    ----------
    kept : ndarray of int
        Rows of the samples that were reviewed and stay unchanged.
    removed : ndarray of int
        Rows of the samples to remove.
    relabelled : dict of int to object
        Row of each sample that gets another label, and that label (for a regressor the
        target), as in y.

    Raises
    ------
    TypeError, ValueError
        If rows are no numbers from 0, or a row is there twice.

    See Also
    --------
    read_decisions : Reads them from a file.
    Agreement : How far two readers agree.

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

    def __post_init__(self) -> None:
        kept, removed = (
            _rows(name, getattr(self, name)) for name in ("kept", "removed")
        )
        if not isinstance(self.relabelled, Mapping):
            raise TypeError(
                "`relabelled` must be a dict of rows and labels, got "
                f"{self.relabelled!r:.200}."
            )
        rows = _rows("relabelled", list(self.relabelled))
        values, counts = np.unique(
            np.concatenate([kept, removed, rows]), return_counts=True
        )
        if (counts > 1).any():
            raise ValueError(
                "`kept`, `removed` and `relabelled` must name each row once, got row "
                f"{values[counts > 1][0]} {counts.max()} times."
            )
        labels = dict(zip(rows.tolist(), self.relabelled.values(), strict=True))
        for name, value in (
            ("kept", kept),
            ("removed", removed),
            ("relabelled", labels),
        ):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.kept) + len(self.removed) + len(self.relabelled)

    def _by_sample(self) -> Decided:
        decided: dict[int, tuple[str, Any]] = dict.fromkeys(
            self.kept.tolist(), ("keep", "")
        )
        decided |= dict.fromkeys(self.removed.tolist(), ("remove", ""))
        return decided | {k: ("relabel", v) for k, v in self.relabelled.items()}

    def agreement(self, other: "Decisions") -> Agreement:
        """Compare these decisions with those of a second reader of the same data.

        Parameters
        ----------
        other : Decisions
            Those of the other reader.

        Returns
        -------
        Agreement
            On the samples that both have decided on.
        """
        return agreement_of(self._by_sample(), _checked(other)._by_sample())

    def merge(self, other: "Decisions", *, conflicts: str = "refuse") -> "Decisions":
        """Take the decisions of a second reader of the same data into account.

        Parameters
        ----------
        other : Decisions
            Those of the other reader.
        conflicts : {"refuse", "first", "keep"}, default="refuse"
            What becomes of samples on which both have decided, otherwise: an error,
            these decisions, or the samples are kept as they are.

        Returns
        -------
        Decisions
            About all samples that either has decided on.

        Raises
        ------
        DecisionsError
            If the two disagree, with ``conflicts="refuse"``.

        Examples
        --------
        >>> import numpy as np
        >>> from skinfluence.cleaning import Decisions
        >>> first = Decisions(np.array([1]), np.array([5, 8]), {})
        >>> second = Decisions(np.array([8]), np.array([5]), {2: "cat"})
        >>> merged = first.merge(second, conflicts="keep")
        >>> merged.kept, merged.removed, merged.relabelled
        (array([1, 8]), array([5]), {2: 'cat'})
        """
        if conflicts not in CONFLICTS:
            raise ValueError(
                f"`conflicts` must be 'refuse', 'first' or 'keep', got {conflicts!r}."
            )
        found = self.agreement(other)
        if conflicts == "refuse" and len(found.conflicts):
            raise DecisionsError(
                "The decisions of both readers must agree, but they differ on "
                f"{listed_conflicts(found)}. Let the readers settle it, or choose a "
                "rule: 'first' takes the first reader's decisions, 'keep' keeps these "
                "samples as they are."
            )
        decided = {**other._by_sample(), **self._by_sample()}
        if conflicts == "keep":
            decided |= dict.fromkeys(found.conflicts["sample"].tolist(), ("keep", ""))
        return _of(decided)

    def to_frame(self, X: Samples, y: ArrayLike) -> pd.DataFrame:
        """Return the decisions as a table, as :func:`read_decisions` reads it.

        Parameters
        ----------
        X : array-like of n_samples rows
            The samples that the decisions are about.
        y : array-like of shape (n_samples,)
            Their given labels or targets.

        Returns
        -------
        DataFrame
            The columns ``sample``, ``decision``, ``label`` (a text that a spreadsheet
            would run as a formula after an apostrophe) and ``fingerprint``, a row for
            each decision.

        Raises
        ------
        ValueError
            If a decision is about a row that y does not have.
        """
        fingerprint = data_fingerprint(X, y)
        last = max(self._by_sample(), default=-1)
        if last >= _num_samples(y):
            raise ValueError(
                "`X` and `y` must be what the decisions are about, of which one is "
                f"about row {last}, got {_num_samples(y)} rows."
            )
        lines = [(k, *decided) for k, decided in sorted(self._by_sample().items())]
        frame = pd.DataFrame(lines, columns=["sample", "decision", "label"])
        frame["label"] = frame["label"].map(not_run)
        return frame.assign(fingerprint=fingerprint)


def _of(decided: Decided) -> Decisions:
    rows = {
        word: [k for k in sorted(decided) if decided[k][0] == word] for word in _WORDS
    }
    return Decisions(
        np.array(rows["keep"], dtype=np.intp),
        np.array(rows["remove"], dtype=np.intp),
        {k: decided[k][1] for k in rows["relabel"]},
    )


def _checked(other: object) -> Decisions:
    if not isinstance(other, Decisions):
        raise TypeError(
            "`other` must be Decisions, such as read_decisions returns, got "
            f"{type(other).__name__}."
        )
    return other


def _rows(name: str, rows: Any) -> np.ndarray:
    """Return row numbers; a mask is none, though its truth values are numbers too."""
    found = np.asarray(rows)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise TypeError(f"`{name}` must be row numbers, got {rows!r:.200}.")
    if found.size and found.min() < 0:
        raise ValueError(f"`{name}` must be row numbers from 0, got {found.min()}.")
    return found.astype(np.intp)


def not_run(cell: Any) -> Any:
    """Return what is to stand in a CSV file so that no spreadsheet runs a text.

    Parameters
    ----------
    cell : object
        A text gets an apostrophe if it begins like a formula, or with an apostrophe.
    """
    if not isinstance(cell, str) or _PLAIN_NUMBER.fullmatch(cell):
        return cell
    return f"'{cell}" if _FORMULA.match(cell) else cell


def read_decisions(
    source: Source, X: Samples, y: ArrayLike, *, regression: bool = False
) -> Decisions:
    """Read decisions about samples, and check that they are about this data.

    Parameters
    ----------
    source : str, path or DataFrame
        A CSV or JSON file saved from an
        :class:`~skinfluence.inspection.AuditReport`, or a table with its
        columns: ``sample`` (row number), ``decision`` (keep, remove or relabel),
        ``label`` (the new one) and ``fingerprint`` (of the data, by
        :func:`data_fingerprint`). A file of the report has a column ``check`` as well,
        by which rows that are missing or changed are noticed. Other columns, such as
        remarks, are ignored.
    X : array-like of n_samples rows
        The samples: those that the estimator of the report was fitted on, or those
        that the report shows.
    y : array-like of shape (n_samples,)
        Their given labels or targets.
    regression : bool, default=False
        Whether the labels are targets of a regressor, which may be any numbers;
        otherwise they must be labels in y.

    Returns
    -------
    Decisions
        Rows of the samples, and labels as in y.

    Raises
    ------
    DecisionsError
        If the source cannot be read or is empty; if it is about other data; if it has a
        row that is out of range or repeated, an unknown decision or an unknown label;
        if a file differs from what the report saved in more than the order of its rows
        and in added columns.

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
    table = read_table(source)
    _check_fingerprint(table, X, y)
    targets = np.asarray(y)
    samples = _samples(table, len(targets))
    words = _words(table, samples)
    find = _number if regression else _finder(targets)
    relabelled = {}
    for row in np.flatnonzero(words == "relabel"):
        readings, sample = table.label(int(row)), int(samples[row])
        relabelled[sample] = find(readings, f"in {table.where}", f"sample {sample}")
    if table.checks is not None:
        _check_rows(table, table.checks, samples, words, relabelled, regression)
    return Decisions(samples[words == "keep"], samples[words == "remove"], relabelled)


def _check_rows(
    table: DecisionTable,
    checks: Sequence[str],
    samples: np.ndarray,
    words: np.ndarray,
    relabelled: Mapping[int, Any],
    regression: bool,
) -> None:
    """Refuse decisions that are not those that were saved.

    What is compared is what they mean: a program may write 3.0 for 3.
    """
    fingerprint = text_of(table.rows["fingerprint"].iloc[0])
    for sample, word, check in zip(samples.tolist(), words, checks, strict=True):
        found = _CHECK.fullmatch(check)
        if found is None:
            raise _changed(table, f"the check of sample {sample} is {check!r}")
        count, digest = found.groups()
        if int(count) != len(samples):
            raise _changed(table, f"there were {count} rows, and are {len(samples)}")
        label = relabelled.get(sample, "")
        if word == "relabel" and regression:
            label = struct.pack(">d", label).hex()
        row = f"{sample}\n{word}\n{label}\n{fingerprint}\n{count}"
        if checksum(row.encode("utf-8", "replace")) != digest:
            raise _changed(table, f"sample {sample} has another check")


def _changed(table: DecisionTable, why: str) -> DecisionsError:
    return DecisionsError(
        f"The decisions in {table.where} are not those that were saved: {why}. Save "
        "them from the report again or, if you have changed them yourself, delete the "
        f"column {CHECK!r}."
    )


def _check_fingerprint(table: DecisionTable, X: Samples, y: ArrayLike) -> None:
    fingerprints = {text_of(value) for value in table.rows["fingerprint"]}
    if len(fingerprints) != 1:
        raise DecisionsError(
            f"The decisions in {table.where} must all be about the same data, got "
            f"{len(fingerprints)} fingerprints."
        )
    (recorded,), actual = fingerprints, data_fingerprint(X, y)
    # A report writes two: of the data as fitted, and of the data as shown.
    if actual not in recorded.split("+"):
        raise DecisionsError(
            f"The decisions in {table.where} are about other data: their fingerprint "
            f"is {recorded!r}, that of X and y is {actual!r}. Pass all samples and "
            "labels of the report, in the same order."
        )


def _samples(table: DecisionTable, n_samples: int) -> np.ndarray:
    """Return the row numbers, each named once."""
    column = table.rows["sample"]
    # As texts: truth values, dates and lists would have numbers too.
    cells = pd.Series([text_of(value) for value in column], dtype=object)
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64)
    valid = (numbers >= 0) & (numbers < n_samples)
    valid[valid] = numbers[valid] % 1 == 0
    if not valid.all():
        raise DecisionsError(
            f"The samples in {table.where} must be row numbers from 0 to "
            f"{n_samples - 1}, got {column.iloc[int(np.argmin(valid))]!r:.200}."
        )
    samples = numbers.astype(np.intp)
    values, counts = np.unique(samples, return_counts=True)
    if (counts > 1).any():
        raise DecisionsError(
            f"The decisions in {table.where} must name each sample once, got sample "
            f"{values[counts > 1][0]} {counts.max()} times."
        )
    return samples


def _words(table: DecisionTable, samples: np.ndarray) -> np.ndarray:
    """Return the decision about each sample."""
    column = table.rows["decision"].map(text_of).str.strip().str.lower()
    words = column.to_numpy(dtype=object)
    for word, sample in zip(words, samples, strict=True):
        if word not in _WORDS:
            raise DecisionsError(
                f"The decisions in {table.where} must be keep, remove or relabel, got "
                f"{word!r} for sample {sample}."
            )
    return words


def _finder(y: np.ndarray) -> Callable[[list[str], str, str], Any]:
    """Return a function that finds a label of y by its spelling."""
    classes = np.unique(y).tolist()
    written = {str(label): label for label in classes}
    numbers = {
        float(label): label for label in classes if isinstance(label, (int, float))
    }

    def find(readings: list[str], where: str, sample: str) -> Any:
        for reading in readings:
            if reading in written:
                return written[reading]
        # Spreadsheets and frames write 3 as 3.0.
        value = _float(readings)
        if value in numbers:
            return numbers[value]
        labels = ", ".join(repr(name[:40]) for name in list(written)[:10])
        more = ", …" if len(written) > 10 else ""
        raise DecisionsError(
            f"The labels {where} must be labels of y ({labels}{more}), got "
            f"{readings[-1][:40]!r} for {sample}."
        )

    return find


def _number(readings: list[str], where: str, sample: str) -> float:
    value = _float(readings)
    if value is None or not np.isfinite(value):
        raise DecisionsError(
            f"The labels {where} must be numbers, as targets are, got "
            f"{readings[-1][:40]!r} for {sample}."
        )
    return value


def _float(readings: list[str]) -> float | None:
    for reading in readings:
        try:
            return float(reading)
        except ValueError:
            continue
    return None
