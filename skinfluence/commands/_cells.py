"""The cells of a column: missing ones, texts, and the types of Parquet files."""

import numpy as np
import pandas as pd

MISSING = frozenset(
    ["", "?", "-", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null"]
)
"""Spellings of a missing value."""

_CODE = r"0\d+"  # such as 007, which differs from 7


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


def has_codes(column: pd.Series) -> bool:
    """Return whether there are numbers with leading zeros: codes, not numbers."""
    return is_text(column) and bool(texts(column).str.fullmatch(_CODE).any())


def finite(values: pd.Series) -> np.ndarray:
    """Return numbers, NaN where they are missing or infinite."""
    parsed = np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.where(np.isfinite(parsed), parsed, np.nan)


def is_dated(column: pd.Series) -> bool:
    """Return whether the column has a date type."""
    return pd.api.types.is_datetime64_any_dtype(column.dtype)


def is_text(column: pd.Series) -> bool:
    """Return whether the cells are text, as all are in CSV files, or booleans."""
    kinds = pd.api.types
    if kinds.is_bool_dtype(column.dtype):
        return True
    typed = kinds.is_numeric_dtype(column.dtype) or is_dated(column)
    return not (typed or kinds.is_timedelta64_dtype(column.dtype))
