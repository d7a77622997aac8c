"""How unusual the values of a table's column are."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm


class Column:
    """How unusual values are in a column.

    For numbers it is the distance from the median, in standard deviations estimated
    from the median absolute deviation. For other values, and where one is missing, it
    is the share of rows whose value is as rare or rarer, as the distance at which a
    normal variable is as rare: where all values differ, none of them is unusual.
    """

    def __init__(self, values: pd.Series) -> None:
        numeric = pd.api.types.is_numeric_dtype(values) and values.dtype != bool
        self.numeric = bool(numeric)
        numbers = _finite(values) if self.numeric else None
        present = np.zeros(0) if numbers is None else numbers[~np.isnan(numbers)]
        self._middle = float(np.median(present)) if len(present) else 0.0
        deviations = np.abs(present - self._middle)
        # 1.4826 makes it the standard deviation of normal data. Where most values are
        # equal it is 0, but the ordinary deviation is not.
        spread = 1.4826 * float(np.median(deviations)) if len(present) else 0.0
        self._spread = spread or (float(present.std()) if len(present) else 0.0) or 1.0
        keys = values.isna() if self.numeric else values
        self._counts = Counter(map(_key, keys))
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
        if not self.numeric:
            return [self._of_key(_key(value)) for value in values]
        distances = (_finite(values) - self._middle) / self._spread
        return [
            self._of_key(_key(True)) if missing else (_sigmas(distance), abs(distance))
            for distance, missing in zip(
                np.nan_to_num(distances).tolist(), values.isna(), strict=True
            )
        ]

    def _of_key(self, key: str) -> tuple[str, float]:
        strength = float(norm.isf(self._as_rare[key] / 2))
        share = _share(self._counts[key], self._counts.total())
        missing = key == (_key(True) if self.numeric else "")
        return ("missing in " if missing else "") + share, strength


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


def _finite(values: pd.Series) -> np.ndarray:
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _key(value: Any) -> str:
    return "" if pd.api.types.is_scalar(value) and pd.isna(value) else str(value)
