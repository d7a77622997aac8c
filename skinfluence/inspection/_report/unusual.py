"""How unusual the values of a table's column are."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm


class Column:
    """How unusual values are in a column.

    For numbers it is the distance from the median, in standard deviations estimated
    from the median absolute deviation. For other values, and where a number is missing,
    it is the share of rows whose value is as rare or rarer, as the distance at which a
    normal variable is as rare: where all values differ, none of them is unusual.
    """

    def __init__(self, values: pd.Series) -> None:
        numbers = _numbers(values)
        # Between words, a number is one of them.
        mostly = np.isfinite(numbers).sum() > 0.5 * values.notna().sum()
        self.numeric = _is_numeric(values) or bool(mostly)
        if not self.numeric:
            numbers[:] = np.nan
        present = numbers[~np.isnan(numbers)]
        self._middle = float(np.median(present)) if len(present) else 0.0
        deviations = np.abs(present - self._middle)
        # 1.4826 makes it the standard deviation of normal data. Where most values are
        # equal it is 0, but the ordinary deviation is not.
        spread = 1.4826 * float(np.median(deviations)) if len(present) else 0.0
        self._spread = spread or (float(present.std()) if len(present) else 0.0) or 1.0
        self._counts = Counter(map(_key, values, numbers))
        self._as_rare = _as_rare(self._counts)

    @property
    def is_text(self) -> bool:
        """Whether it holds texts to be read: long, and mostly different ones."""
        counts = self._counts
        lengths = sum(len(key) * count for key, count in counts.items())
        return (
            not self.numeric
            and len(counts) > 0.5 * counts.total()
            and lengths > _LONG * counts.total()
        )

    def judge(self, values: pd.Series) -> list[tuple[str, float]]:
        """Return for each value in words, and as a number, how unusual it is."""
        numbers = _numbers(values) if self.numeric else np.full(len(values), np.nan)
        distances = ((numbers - self._middle) / self._spread).tolist()
        return [
            self._of_key(_key(value, distance))
            if np.isnan(distance)
            else (_sigmas(distance), abs(distance))
            for value, distance in zip(values, distances, strict=True)
        ]

    def _of_key(self, key: str) -> tuple[str, float]:
        strength = float(norm.isf(self._as_rare[key] / 2))
        share = _share(self._counts[key], self._counts.total())
        return ("" if key else "missing in ") + share, strength


_LONG = 40  # characters per cell, on average


def _as_rare(counts: Counter[str]) -> dict[str, float]:
    """Return for each value the share of rows whose value is as rare, or rarer."""
    rows: Counter[int] = Counter()
    for count in counts.values():
        rows[count] += count
    total, below, shares = counts.total(), 0, {}
    for count in sorted(rows):
        below += rows[count]
        shares[count] = below / total
    return {key: shares[count] for key, count in counts.items()}


def _sigmas(distance: float) -> str:
    form = "+.1f" if abs(distance) < 1000 else "+.2g"
    return f"{distance:{form}}σ".replace("-", "−")


def _share(count: int, total: int) -> str:
    if count == total:
        return "all rows"
    if count == 1:
        return "this row only"
    percent = 100 * count / total
    if percent > 99:
        return "> 99 % of rows"
    return f"{percent:.0f} % of rows" if percent >= 10 else f"{percent:.2g} % of rows"


def _is_numeric(values: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(values) and values.dtype != bool)


def _numbers(values: pd.Series) -> np.ndarray:
    """Return the numbers of a column; NaN for other values."""
    numbers = np.full(len(values), np.nan)
    if _is_numeric(values):
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    elif values.dtype == object:
        numbers[:] = [float(v) if _is_number(v) else np.nan for v in values]
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _is_number(value: object) -> bool:
    """Return whether an object is a number, however it is written."""
    return hasattr(value, "__float__") and not isinstance(value, (bool, np.bool_))


_A_NUMBER = "\0"  # a key that no text has


def _key(value: Any, number: float = np.nan) -> str:
    """Return what is counted: a value's text, empty if it is missing."""
    if not np.isnan(number):
        return _A_NUMBER
    return "" if pd.api.types.is_scalar(value) and pd.isna(value) else str(value)
