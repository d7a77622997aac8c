"""How unusual the values of a table's column are."""

from typing import Any

import numpy as np
import pandas as pd


class Column:
    """How unusual values are in a column.

    For numbers it is the distance from the median, in standard deviations estimated
    from the median absolute deviation; for other values, the standard score of their
    indicator: rare values are unusual.
    """

    def __init__(self, values: pd.Series) -> None:
        numeric = pd.api.types.is_numeric_dtype(values) and values.dtype != bool
        self.numeric = bool(numeric)
        if not self.numeric:
            self._shares = values.map(_key).value_counts(normalize=True)
            return
        numbers = _finite(values)
        present = numbers[~np.isnan(numbers)]
        self._middle = float(np.median(present)) if len(present) else 0.0
        spread = (
            1.4826 * np.median(np.abs(present - self._middle)) if len(present) else 0
        )
        # 1.4826 makes it the standard deviation of normal data. Where most values are
        # equal it is 0, but the ordinary deviation is not.
        self._spread = float(spread or (present.std() if len(present) else 0) or 1.0)

    def unusual(self, values: pd.Series) -> np.ndarray:
        """Return how unusual values are, like z-scores; 0 where missing."""
        if self.numeric:
            return np.nan_to_num((_finite(values) - self._middle) / self._spread)
        shares = values.map(_key).map(self._shares).to_numpy(dtype=np.float64)
        scores: np.ndarray = np.sqrt((1 - shares) / shares)
        return scores

    def why(self, strength: float) -> str:
        """Return in words how unusual a value is."""
        if self.numeric:
            return f"{strength:+.1f}σ".replace("-", "−")
        return f"{100 / (1 + strength**2):.2g} % of rows"


def _finite(values: pd.Series) -> np.ndarray:
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _key(value: Any) -> str:
    return "" if pd.api.types.is_scalar(value) and pd.isna(value) else str(value)
