"""Values as they stand in the data, as numbers for JSON, and their limits."""

from typing import Any, SupportsFloat

import numpy as np
import pandas as pd

from ..._digits import without_many_digits

# Characters of all texts together, and the limits for a single one.
_ALL_CHARACTERS, _MOST_CHARACTERS, _FEWEST_CHARACTERS = 8_000_000, 20_000, 600
_NAME_CHARACTERS = 200


def as_it_stands(value: Any) -> str:
    """Return a value as text: a number to its last digit, unless it has very many."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "—"
    # In its own precision: as a double, the float 0.1 has 17 digits.
    text = str(value)
    if not isinstance(value, (float, np.floating)):
        # Dates without a time.
        return text.removesuffix(" 00:00:00")
    return without_many_digits(text.removesuffix(".0"))


def written(value: float | None) -> str:
    """Return a computed number with four digits."""
    if value is None:
        return "—"
    form = ",.0f" if 1e4 <= abs(value) < 1e9 else ".4g"
    return format(value, form).replace("-", "−")


def longest_text(n_texts: int) -> int:
    """Return how many characters of each text a page holds."""
    room = _ALL_CHARACTERS // max(n_texts, 1)
    return min(max(room, _FEWEST_CHARACTERS), _MOST_CHARACTERS)


def cut(value: object, most: int = _NAME_CHARACTERS) -> str:
    """Return the text of a value, or its beginning."""
    text = str(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def json_number(value: SupportsFloat) -> float | None:
    """Return a number to five digits; None for what JSON lacks, NaN and infinity."""
    number = float(value)
    return float(f"{number:.5g}") if np.isfinite(number) else None
