"""Parsing the cells of a column as numbers or dates."""

from typing import Any

import numpy as np
import pandas as pd

MISSING = frozenset(
    ["", "?", "-", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null"]
)
"""Spellings of a missing value."""

_CODE = r"0\d+"  # such as 007, which differs from 7
_ISO_DATE = r"\d{4}-\d\d-\d\d(?:[ T].*)?"
_OTHER_DATE = r"\d{1,4}([./-])\d{1,2}\1\d{1,4}"


def is_missing(column: pd.Series) -> np.ndarray:
    """Return which cells are missing."""
    missing = column.isna().to_numpy(dtype=bool)
    if not is_text(column):
        return missing
    return missing | texts(column).isin(MISSING).to_numpy(dtype=bool)


def texts(column: pd.Series) -> pd.Series:
    """Return the cells as stripped text, empty where they are missing."""
    filled = column.astype(object).where(column.notna(), "")
    return filled.astype(str).str.strip().astype(object)


def numbers(column: pd.Series, decimal: str = ".") -> np.ndarray:
    """Return the cells as numbers; NaN where there is no finite one."""
    values: Any = column
    if is_text(column):
        values = texts(column)
        if decimal != ".":
            values = values.str.replace(decimal, ".", regex=False)
    parsed = np.asarray(
        pd.to_numeric(values, errors="coerce").to_numpy(
            dtype=np.float64, na_value=np.nan
        )
    )
    return np.where(np.isfinite(parsed), parsed, np.nan)


def has_codes(column: pd.Series) -> bool:
    """Return whether there are numbers with leading zeros: codes, not numbers."""
    return is_text(column) and bool(texts(column).str.fullmatch(_CODE).any())


def days(column: pd.Series) -> np.ndarray:
    """Return the cells, dates as YYYY-MM-DD, in days since 1970; NaN for others."""
    values: Any = column
    if is_text(column):
        values = texts(column)
        values = values.where(values.str.fullmatch(_ISO_DATE).astype(bool))
    # In UTC: cells with and without a time zone cannot be compared otherwise.
    stamps = pd.to_datetime(values, format="ISO8601", errors="coerce", utc=True)
    epoch = pd.Timestamp(0, tz="UTC")
    return ((stamps - epoch) / pd.Timedelta(days=1)).to_numpy(dtype=np.float64)


def like_other_dates(column: pd.Series) -> np.ndarray:
    """Return which cells look like dates whose day and month may be swapped."""
    if not is_text(column):
        return np.zeros(len(column), dtype=bool)
    return texts(column).str.fullmatch(_OTHER_DATE).to_numpy(dtype=bool)


def is_dated(column: pd.Series) -> bool:
    """Return whether the column has a date type."""
    return pd.api.types.is_datetime64_any_dtype(column.dtype)


def is_text(column: pd.Series) -> bool:
    """Return whether the cells are text, as all are in CSV files, or booleans."""
    if pd.api.types.is_bool_dtype(column.dtype):
        return True
    return not (pd.api.types.is_numeric_dtype(column.dtype) or is_dated(column))
