"""How a page shows a sample: as a picture, as text, or as the row of a table."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from ._audit_words import telling_words
from ._sample_views import ImageView, TextView, view_of, written
from ._unusual import Column

# Of so many pictures at most each has so many pixels on its longer side.
_SIDES = ((500, 192), (2000, 96), (float("inf"), 64))
# Whose pixels are shown as squares.
_SMALL = 64
# Characters of all texts together, and of one at most and at least.
_ALL_CHARACTERS, _MOST_CHARACTERS, _FEWEST_CHARACTERS = 8_000_000, 20_000, 600
_VALUE_CHARACTERS = 200
_N_FEATURES = 12

Shown = dict[str, Any]
"""What a page is told of a sample, JSON-able."""


class Pictures:
    """Samples as images."""

    def __init__(self, view: ImageView, n_shown: int) -> None:
        self.view = view
        self._side = next(side for most, side in _SIDES if n_shown <= most)

    def __len__(self) -> int:
        return len(self.view)

    def show(self, row: int) -> Shown:
        """Return a sample's picture, a PNG as a data URI."""
        from PIL import Image

        pixels = (255 * self.view.scaled(row)).round().astype(np.uint8)
        image = Image.fromarray(pixels)
        image.thumbnail((self._side, self._side))
        file = io.BytesIO()
        image.save(file, "PNG")
        source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        return {"image": source, "small": max(image.size) <= _SMALL}


class Texts:
    """Samples as texts, with the words marked that speak for or against the label."""

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

    def __init__(self, table: pd.DataFrame, shown: np.ndarray) -> None:
        self.table = table
        self._places = {int(row): place for place, row in enumerate(shown)}
        self._columns = [Column(table.iloc[:, k]) for k in range(table.shape[1])]
        strengths = [
            column.unusual(table.iloc[shown, k])
            for k, column in enumerate(self._columns)
        ]
        self._strengths = np.stack(strengths, axis=1)
        # Numbers from 0 are no names.
        self._named = not isinstance(table.index, pd.RangeIndex)

    def __len__(self) -> int:
        return len(self.table)

    def show(self, row: int) -> Shown:
        """Return a sample's most unusual values: [name, value, why, how unusual]."""
        strengths = self._strengths[self._places[row]]
        rows = []
        for k in np.argsort(-np.abs(strengths), kind="stable")[:_N_FEATURES]:
            value, strength = self.table.iat[row, k], float(strengths[k])
            why = self._columns[k].why(strength)
            name = _cut(self.table.columns[k])
            rows.append([name, _value(value), why, round(abs(strength), 2)])
        named = {"name": _cut(self.table.index[row])} if self._named else {}
        return {"table": rows, "more": len(strengths) - len(rows), **named}


class Entries:
    """Samples as the largest entries of a sparse matrix."""

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


def showings(
    estimator: Any,
    suspects: np.ndarray,
    harmed: np.ndarray,
    X: Any,
    X_val: Any,
    raw: Any,
    raw_val: Any,
    feature_names: Any,
    image_shape: Sequence[int] | None,
) -> tuple[Showing, Showing | None]:
    """Return how suspects, and the validation samples beside them, are shown."""
    words: dict[int, dict[str, float]] = {}
    if raw is not None and feature_names is not None:
        words = telling_words(estimator, suspects, list(feature_names))
    # They name the columns of X, and raw has its own.
    names = feature_names if raw is None else None
    samples = showing_of(
        X if raw is None else raw,
        suspects,
        image_shape=image_shape,
        feature_names=names,
        words=words,
    )
    others = X_val if raw is None and raw_val is None else raw_val
    rows = np.unique(harmed)
    if others is None or not len(rows):
        return samples, None
    return samples, showing_of(
        others, rows, image_shape=image_shape, feature_names=names, words={}
    )


def showing_of(
    samples: Any,
    shown: np.ndarray,
    *,
    image_shape: Sequence[int] | None,
    feature_names: Any,
    words: Mapping[int, dict[str, float]],
) -> Showing:
    """Return how those of the samples are shown that are shown."""
    if sparse.issparse(samples):
        return Entries(samples, feature_names)
    view = view_of(samples, image_shape, feature_names, 1)
    if isinstance(view, TextView):
        return Texts(view.texts, len(shown), words)
    if isinstance(view, ImageView):
        return Pictures(view, len(shown))
    return Rows(view.table, shown)


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
