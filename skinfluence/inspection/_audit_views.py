"""How a page shows a sample: as a picture, as text, or as the row of a table."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from ._sample_views import ImageView, TextView, view_of, written

# Pixels of the longer side of a picture; more cannot be seen at the size it has.
_PIXELS = 192
# Characters of all texts together, and of one at most and at least.
_ALL_CHARACTERS, _MOST_CHARACTERS, _FEWEST_CHARACTERS = 8_000_000, 20_000, 600
_VALUE_CHARACTERS = 200
_N_FEATURES = 12

Shown = dict[str, Any]
"""What a page is told of a sample, JSON-able."""


class Pictures:
    """Samples as images."""

    kind = "image"

    def __init__(self, view: ImageView) -> None:
        self.view = view

    def __len__(self) -> int:
        return len(self.view)

    def show(self, row: int) -> Shown:
        """Return a sample's picture, a PNG as a data URI."""
        from PIL import Image

        pixels = (255 * self.view.scaled(row)).round().astype(np.uint8)
        image = Image.fromarray(pixels)
        if max(image.size) > _PIXELS:
            image.thumbnail((_PIXELS, _PIXELS))
        file = io.BytesIO()
        image.save(file, "PNG")
        source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        return {"image": source, "small": max(image.size) <= 64}


class Texts:
    """Samples as texts, with the words marked that speak for or against the label."""

    kind = "text"

    def __init__(
        self, texts: Sequence[str], n_shown: int, words: Mapping[int, dict[str, float]]
    ) -> None:
        self.texts = texts
        self.words = words
        room = _ALL_CHARACTERS // max(n_shown, 1)
        self.longest = min(max(room, _FEWEST_CHARACTERS), _MOST_CHARACTERS)

    def __len__(self) -> int:
        return len(self.texts)

    def show(self, row: int) -> Shown:
        """Return a sample's text in parts: [text, how much it speaks for the label]."""
        text = self.texts[row].strip()
        parts = _marked(text[: self.longest], self.words.get(row, {}))
        return {"text": parts, "length": len(text)}


class Rows:
    """Samples as rows of a table, the most unusual values first."""

    kind = "table"

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        self.columns = [_Column(table.iloc[:, k]) for k in range(table.shape[1])]

    def __len__(self) -> int:
        return len(self.table)

    def show(self, row: int) -> Shown:
        """Return a sample's most unusual values: [name, value, why, how unusual]."""
        values = [self.table.iat[row, k] for k in range(self.table.shape[1])]
        found = [
            column.unusual(value)
            for column, value in zip(self.columns, values, strict=True)
        ]
        order = np.argsort([-strength for strength, _ in found], kind="stable")
        rows = [
            [_cut(self.table.columns[k]), _value(values[k]), found[k][1], found[k][0]]
            for k in order[:_N_FEATURES]
        ]
        return {"table": rows, "more": len(values) - len(rows)}


class Entries:
    """Samples as the largest entries of a sparse matrix."""

    kind = "table"

    def __init__(self, matrix: Any, names: Any) -> None:
        self.matrix = sparse.csr_matrix(matrix)
        self.names = names

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    def show(self, row: int) -> Shown:
        """Return a sample's largest entries, as a table's rows."""
        entries = self.matrix[[row]]
        order = np.argsort(-np.abs(entries.data), kind="stable")
        rows = [
            [
                _cut(f"x{k}" if self.names is None else self.names[k]),
                written(float(value)),
                "",
                0.0,
            ]
            for k, value in zip(
                entries.indices[order[:_N_FEATURES]],
                entries.data[order[:_N_FEATURES]],
                strict=True,
            )
        ]
        return {"table": rows, "more": len(order) - len(rows)}


Showing = Pictures | Texts | Rows | Entries


def showing_of(
    samples: Any,
    *,
    image_shape: Sequence[int] | None,
    feature_names: Any,
    n_shown: int,
    words: Mapping[int, dict[str, float]],
) -> Showing:
    """Return how the samples are shown."""
    if sparse.issparse(samples):
        return Entries(samples, feature_names)
    view = view_of(samples, image_shape, feature_names, 1)
    if isinstance(view, TextView):
        return Texts(view.texts, n_shown, words)
    return Pictures(view) if isinstance(view, ImageView) else Rows(view.table)


class _Column:
    """How unusual values are in a column.

    A number is as unusual as it lies far from the median, in standard deviations as
    the median absolute deviation tells them; anything else as few rows have it.
    """

    def __init__(self, values: pd.Series) -> None:
        numeric = pd.api.types.is_numeric_dtype(values) and values.dtype != bool
        self.numeric = numeric
        if numeric:
            numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
            numbers = numbers[np.isfinite(numbers)]
            self.middle = float(np.median(numbers)) if len(numbers) else 0.0
            spread = (
                1.4826 * np.median(np.abs(numbers - self.middle))
                if len(numbers)
                else 0.0
            )
            # Where most values are the same, the ordinary deviation still tells.
            self.spread = float(spread or (numbers.std() if len(numbers) else 0) or 1.0)
        else:
            self.shares = values.map(_key).value_counts(normalize=True)

    def unusual(self, value: Any) -> tuple[float, str]:
        """Return how unusual a value is, like a z-score, and why in words."""
        if self.numeric:
            if pd.isna(value) or not np.isfinite(value):
                return 0.0, ""
            score = (float(value) - self.middle) / self.spread
            return abs(score), f"{score:+.1f}σ".replace("-", "−")
        share = float(self.shares[_key(value)])
        return float(np.sqrt((1 - share) / share)), f"{100 * share:.2g} % of rows"


def _key(value: Any) -> str:
    return "" if pd.api.types.is_scalar(value) and pd.isna(value) else str(value)


def _value(value: Any) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "—"
    if isinstance(value, (float, np.floating)):
        return written(value)
    return _cut(value)


def _cut(value: Any) -> str:
    text = str(value)
    if len(text) <= _VALUE_CHARACTERS:
        return text
    return text[: _VALUE_CHARACTERS - 1] + "…"


def _marked(text: str, words: Mapping[str, float]) -> list[list[Any]]:
    """Return the text in parts, those that are words with their strength."""
    if not words:
        return [[text, 0]]
    # Longer ones first, so that a pair of words is not taken for its first.
    names = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    parts: list[list[Any]] = []
    done = 0
    for match in re.finditer(rf"(?<!\w)(?:{names})(?!\w)", text, re.IGNORECASE):
        strength = words.get(match[0].lower(), words.get(match[0]))
        if strength is None:
            continue
        parts += [[text[done : match.start()], 0], [match[0], round(strength, 3)]]
        done = match.end()
    parts.append([text[done:], 0])
    return [part for part in parts if part[0]]
