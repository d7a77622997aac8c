"""What kind of column each is, and the scikit-learn pipeline for them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, RobustScaler

from ..exceptions import TableError
from ._cells import has_codes, is_dated, is_missing, texts
from ._choices import (
    CATEGORY,
    DATE,
    IMAGE,
    MOST_CATEGORIES,
    NUMBER,
    TEXT,
    UNUSED,
)
from ._dates import dates
from ._kinds import Column, kind_of
from ._numbers import WrittenNumber, numbers, plain_numbers
from ._tables import Table


def describe_columns(
    table: Table, names: Sequence[str], asked: Mapping[str, str] | None = None
) -> list[Column]:
    """Return the kinds of columns; refuse a table without a usable one.

    `asked` gives the kinds of some of them.
    """
    columns = [kind_of(table, name, (asked or {}).get(name)) for name in names]
    if all(column.kind == UNUSED for column in columns):
        raise TableError(
            f"{table.name!r} has no column to learn from besides the target: "
            + "; ".join(f"{column.name!r} {column.why}" for column in columns)
            + ". Name the kind of one (--column name=kind)."
        )
    return columns


def convert(table: Table, columns: Sequence[Column]) -> pd.DataFrame:
    """Return the columns that are used, as numbers and texts."""
    converted: dict[str, np.ndarray | pd.Series] = {}
    for column in columns:
        cells = table.frame[column.name]
        if column.kind == NUMBER:
            converted[column.name] = numbers(
                cells, table.file.decimal, column.style
            ).values
        elif column.kind == DATE:
            converted[column.name] = dates(cells, column.style).values
        elif column.kind == CATEGORY:
            converted[column.name] = texts(cells).where(~is_missing(cells), "(missing)")
        elif column.kind == TEXT:
            converted[column.name] = texts(cells)
    return pd.DataFrame(converted)


def convert_to_slice(table: Table, columns: Sequence[Column]) -> pd.DataFrame:
    """Return the columns by which rows are grouped: all but texts to be read.

    Columns without a use to the model, such as names, are categories.
    """
    plain = convert(table, [each for each in columns if each.kind in (NUMBER, DATE)])
    converted: dict[str, np.ndarray | pd.DatetimeIndex] = {}
    for column in columns:
        cells = table.frame[column.name]
        if column.kind == NUMBER:
            converted[column.name] = plain[column.name].to_numpy()
        elif column.kind == DATE:
            days = plain[column.name].to_numpy()
            converted[column.name] = pd.to_datetime(days, unit="D")
        elif column.kind not in (TEXT, IMAGE):
            known = texts(cells).where(~is_missing(cells), None)
            converted[column.name] = known.to_numpy()
    return pd.DataFrame(converted)


def convert_to_show(
    table: Table, target: str, columns: Sequence[Column]
) -> pd.DataFrame:
    """Return all columns but the target as in the file: numbers, or cells."""
    used = {column.name: column for column in columns}
    shown: dict[str, pd.Series] = {}
    for name, cells in table.frame.drop(columns=target).items():
        missing = is_missing(cells)
        values = pd.Series(plain_numbers(cells, table.file.decimal))
        # If one cell is not a number, all are shown as text.
        mixed = (values.isna() != missing).any() or has_codes(cells)
        if missing.all() or is_dated(cells) or mixed:
            written = texts(cells).where(~missing, None)
            shown[str(name)] = _with_numbers(table, written, used.get(str(name)))
        elif (values[~missing] % 1 == 0).all():
            shown[str(name)] = values.astype("Int64")
        else:
            shown[str(name)] = values
    return pd.DataFrame(shown)


def _with_numbers(table: Table, cells: pd.Series, column: Column | None) -> pd.Series:
    """Return cells, as numbers where the model is given numbers."""
    if column is None or column.kind != NUMBER:
        return cells
    values = numbers(table.frame[column.name], table.file.decimal, column.style).values
    numeric = ~np.isnan(values) & cells.notna().to_numpy()
    cells[numeric] = [
        WrittenNumber(text, value)
        for text, value in zip(cells[numeric], values[numeric].tolist(), strict=True)
    ]
    return cells


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
        max_categories=MOST_CATEGORIES,
        drop="if_binary",
        handle_unknown="infrequent_if_exist",
        dtype=np.float32,
    )
    parts = [
        ("numbers", numeric, named(NUMBER, DATE)),
        ("categories", categorical, named(CATEGORY)),
        *(
            # Any name may be a column's, but these names must differ and have no "__".
            (f"text {k}", word_weights(), name)
            for k, name in enumerate(named(TEXT))
        ),
    ]
    return ColumnTransformer(
        [part for part in parts if part[2]],
        # Dense input trains faster, but the words of texts are too many columns for it.
        sparse_threshold=0.3 if named(TEXT) else 0,
        verbose_feature_names_out=False,
    )


def word_weights() -> TfidfVectorizer:
    """Return the transformer from texts to weights of their words, of norm 1."""
    return TfidfVectorizer(max_features=1000, sublinear_tf=True)


def in_words(columns: Sequence[Column]) -> dict[str, str]:
    """Describe what becomes of the columns of each kind."""
    steps = {
        NUMBER: "missing values replaced by the median, scaled to the quartiles, "
        "extremes limited",
        DATE: "converted to days, then like numbers",
        CATEGORY: "one-hot, those in fewer than 5 rows merged, at most "
        f"{MOST_CATEGORIES} of a column",
        TEXT: "words weighted by TF-IDF, the 1000 most frequent",
    }
    present = {column.kind for column in columns}
    plurals = {CATEGORY: "Categories"}
    return {
        plurals.get(kind, kind.capitalize() + "s"): how
        for kind, how in steps.items()
        if kind in present
    }
