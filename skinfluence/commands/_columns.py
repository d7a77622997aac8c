"""The kinds of columns, and the scikit-learn pipeline for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, RobustScaler

from ..exceptions import TableError
from ._cells import (
    days,
    has_codes,
    is_dated,
    is_missing,
    is_text,
    like_other_dates,
    numbers,
    texts,
)
from ._tables import Table, listed

NUMBER, DATE, CATEGORY, TEXT, UNUSED = "number", "date", "category", "text", "unused"

_MOSTLY = 0.95  # share of cells that must be numbers or dates; the rest may be slips
_MANY = 20  # up to this many different words are always categories
_WORDS = 4  # mean number of words per cell that makes a column text


@dataclass(frozen=True)
class Column:
    """A column, its kind, and a note for the user."""

    name: str
    kind: str
    note: str = ""


def describe_columns(table: Table, names: Sequence[str]) -> list[Column]:
    """Return the kinds of columns; refuse a table without a usable one."""
    columns = [_describe(table, name) for name in names]
    if all(column.kind == UNUSED for column in columns):
        raise TableError(
            f"{table.name!r} has no column to learn from besides the target: "
            + "; ".join(column.note for column in columns)
            + "."
        )
    return columns


def _describe(table: Table, name: str) -> Column:
    column = table.frame[name]
    missing = is_missing(column)
    present = column[~missing]
    if missing.all():
        return Column(name, UNUSED, f"{name!r} is empty")
    distinct = texts(present).nunique()
    # Beside missing cells a single value is informative: it is there or not.
    if distinct == 1 and not missing.any():
        return Column(name, UNUSED, f"{name!r} has one value only")
    for kind, values in _readings(column, table.file.decimal):
        slips = np.flatnonzero(np.isnan(values) & ~missing)
        if len(slips) > (1 - _MOSTLY) * len(present):
            continue
        if kind == NUMBER and _counts_rows(values, table.rows):
            return Column(name, UNUSED, f"{name!r} only numbers the rows")
        note = f"{name!r} is not a {kind} in {table.where(slips)}, taken as missing"
        return Column(name, kind, note if len(slips) else "")
    return _describe_words(name, present, distinct)


def _readings(column: pd.Series, decimal: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the possible readings of the cells, NaN where they fail."""
    if not (is_dated(column) or has_codes(column)):
        yield NUMBER, numbers(column, decimal)
    if is_dated(column) or is_text(column):
        yield DATE, days(column)


def _describe_words(name: str, present: pd.Series, distinct: int) -> Column:
    if like_other_dates(present).mean() >= _MOSTLY:
        return Column(
            name, UNUSED, f"{name!r} has dates that are not written as YYYY-MM-DD"
        )
    if distinct <= max(_MANY, 0.2 * len(present)):
        return Column(name, CATEGORY)
    if texts(present).str.count(r"\w+").mean() >= _WORDS:
        return Column(name, TEXT)
    if distinct > 0.5 * len(present):
        return Column(name, UNUSED, f"{name!r} is different in nearly every row")
    return Column(name, CATEGORY)


def _counts_rows(values: np.ndarray, rows: np.ndarray) -> bool:
    # Compared with the row numbers, so that a random sample is recognized too.
    return len(values) > _MANY and bool(np.all(np.diff(values) == np.diff(rows)))


def convert(table: Table, columns: Sequence[Column]) -> pd.DataFrame:
    """Return the columns that are used, as numbers and texts."""
    converted: dict[str, np.ndarray | pd.Series] = {}
    for column in columns:
        cells = table.frame[column.name]
        if column.kind == NUMBER:
            converted[column.name] = numbers(cells, table.file.decimal)
        elif column.kind == DATE:
            converted[column.name] = days(cells)
        elif column.kind == CATEGORY:
            converted[column.name] = texts(cells).where(~is_missing(cells), "(missing)")
        elif column.kind == TEXT:
            converted[column.name] = texts(cells)
    return pd.DataFrame(converted)


def convert_to_show(table: Table, target: str) -> pd.DataFrame:
    """Return all columns but the target as in the file: numbers, or cells."""
    shown: dict[str, pd.Series] = {}
    for name, cells in table.frame.drop(columns=target).items():
        missing = is_missing(cells)
        values = pd.Series(numbers(cells, table.file.decimal))
        # If one cell is not a number, all are shown as text.
        mixed = (values.isna() != missing).any() or has_codes(cells)
        if missing.all() or is_dated(cells) or mixed:
            shown[str(name)] = texts(cells).where(~missing, None)
        elif (values[~missing] % 1 == 0).all():
            shown[str(name)] = values.astype("Int64")
        else:
            shown[str(name)] = values
    return pd.DataFrame(shown)


def squash(values: np.ndarray) -> np.ndarray:
    """Limit values smoothly to 3 in size, so that an outlier cannot dominate."""
    return values / np.sqrt(1 + (values / 3) ** 2)


def preprocessor(columns: Sequence[Column]) -> ColumnTransformer:
    """Return the pipeline from converted columns to the input of a model."""

    def named(*kinds: str) -> list[str]:
        return [column.name for column in columns if column.kind in kinds]

    numeric = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True),
        RobustScaler(),
        FunctionTransformer(squash, feature_names_out="one-to-one"),
    )
    # Rare categories share a column, with those that only another table has.
    categorical = OneHotEncoder(
        min_frequency=5,
        max_categories=50,
        drop="if_binary",
        handle_unknown="infrequent_if_exist",
        dtype=np.float32,
    )
    parts = [
        ("numbers", numeric, named(NUMBER, DATE)),
        ("categories", categorical, named(CATEGORY)),
        *(
            (name, TfidfVectorizer(max_features=1000, sublinear_tf=True), name)
            for name in named(TEXT)
        ),
    ]
    return ColumnTransformer(
        [part for part in parts if part[2]],
        # Dense input trains faster, but the words of texts are too many columns for it.
        sparse_threshold=0.3 if named(TEXT) else 0,
        verbose_feature_names_out=False,
    )


def in_words(columns: Sequence[Column]) -> dict[str, str]:
    """Describe the preprocessing of the columns."""
    steps = {
        NUMBER: "missing values replaced by the median, scaled to the quartiles, "
        "extremes limited",
        DATE: "converted to days, then like numbers",
        CATEGORY: "one-hot, those in fewer than 5 rows merged",
        TEXT: "words weighted by TF-IDF, the 1000 most frequent",
    }
    words = {}
    for kind, how in steps.items():
        names = [column.name for column in columns if column.kind == kind]
        if names:
            plural = {CATEGORY: "categories"}.get(kind, kind + "s")
            words[plural.capitalize()] = f"{listed(names)}: {how}"
    unused = [column.note for column in columns if column.kind == UNUSED]
    if unused:
        words["Not used"] = listed(unused)
    return words
