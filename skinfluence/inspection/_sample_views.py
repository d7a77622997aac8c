"""How a sample is drawn: as an image, as text, or as the rows of a table."""

import textwrap
from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeGuard

import numpy as np
import pandas as pd

from .._numbers import is_integer
from .._values import check_list
from ._typing import Axes, Names

# Characters in a line of text, and in a line of a table, at the size they are shown.
_TEXT_WIDTH, _TABLE_WIDTH = 52, 36
_TEXT_LINES = 8


class ImageView:
    """Samples as images, grey or RGB."""

    n_columns, size, heading = 5, (1.7, 2.15), ""

    def __init__(
        self, samples: object, image_shape: Sequence[int] | None, name: str = "samples"
    ) -> None:
        images = _array(samples, name)
        if image_shape is not None:
            shape = check_list("image_shape", image_shape, "integers")
            images = _reshaped(images, tuple(shape))
        self.images = _channels_last(images, name)
        self._range = _range(self.images)

    def __len__(self) -> int:
        return len(self.images)

    def scaled(self, row: int) -> np.ndarray:
        """Return a sample scaled to [0, 1], by the range of all samples."""
        low, high = self._range
        image: np.ndarray = np.clip((self.images[row] - low) / (high - low or 1), 0, 1)
        return image

    def draw(self, ax: Axes, row: int) -> None:
        """Draw a sample."""
        ax.imshow(self.scaled(row), cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("#808080")


class TextView:
    """Samples as text, as much of it as fits."""

    n_columns, size, heading = 2, (4.6, 1.95), ""

    def __init__(self, samples: Sequence[str]) -> None:
        self.texts = [str(text) for text in samples]

    def __len__(self) -> int:
        return len(self.texts)

    def draw(self, ax: Axes, row: int) -> None:
        """Draw a sample."""
        lines = textwrap.wrap(
            self.texts[row], _TEXT_WIDTH, max_lines=_TEXT_LINES, placeholder=" …"
        )
        _clear(ax)
        _write(ax, 0.02, 0.95, "\n".join(lines), va="top")


class TableView:
    """Samples as their most unusual features: those with the largest |z-score|.

    A non-numeric value has the z-score of its indicator: (1 - p) / √(p (1 - p)),
    where p is its relative frequency.
    """

    n_columns, heading = 3, "most unusual features (z-score)"

    def __init__(self, samples: object, feature_names: Names, n_features: int) -> None:
        self.table = _frame(samples, feature_names)
        self.n_features = min(n_features, self.table.shape[1])
        self.size = (3.1, 0.75 + 0.21 * self.n_features)

    @cached_property
    def _scores(self) -> np.ndarray:
        return _z_scores(self.table)

    def __len__(self) -> int:
        return len(self.table)

    def unusual(self, row: int) -> list[tuple[str, str, float]]:
        """Return names, values and z-scores of a sample's most unusual features."""
        scores = self._scores[row]
        most = np.argsort(-np.abs(scores), kind="stable")[: self.n_features]
        values = self.table.iloc[row]
        return [
            (str(self.table.columns[k]), written(values.iloc[k]), float(scores[k]))
            for k in most
        ]

    def draw(self, ax: Axes, row: int) -> None:
        """Draw a sample."""
        _clear(ax)
        for line, (name, value, score) in enumerate(self.unusual(row)):
            right = f"{value}  ({_signed(score, '+.1f')})"
            left = _shortened(name, _TABLE_WIDTH - len(right))
            y = 1 - (line + 0.5) / self.n_features
            _write(ax, 0.02, y, left, va="center")
            _write(ax, 0.98, y, right, va="center", ha="right")


View = ImageView | TextView | TableView


def view_of(
    samples: object,
    image_shape: Sequence[int] | None,
    feature_names: Names,
    n_features: int,
    name: str = "samples",
) -> View:
    """Return the view that fits the samples, or raise an error."""
    sequence = isinstance(samples, Sequence) and not isinstance(samples, (str, bytes))
    if not getattr(samples, "shape", sequence):
        raise TypeError(
            f"`{name}` must be an array, a table or a sequence of texts, got "
            f"{samples!r:.200}."
        )
    if image_shape is not None:
        return ImageView(samples, image_shape, name)
    if _are_texts(samples):
        return TextView(samples)
    if isinstance(samples, pd.Series):
        samples = samples.to_frame()
    if hasattr(samples, "iloc"):
        return TableView(samples, feature_names, n_features)
    shape = getattr(samples, "shape", None) or np.shape(_array(samples, name))
    if len(shape) in (3, 4):
        return ImageView(samples, None, name)
    return TableView(samples, feature_names, n_features)


def written(value: object) -> str:
    """Return a label, several, or a value as text: floats with three digits."""
    if isinstance(value, (list, np.ndarray)):
        return _shortened(f"[{', '.join(map(written, value))}]", _TABLE_WIDTH // 2)
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return _signed(number, ".3g" if abs(number) < 1000 else ".0f")
    return _shortened(str(value), _TABLE_WIDTH // 2)


def signed(value: float) -> str:
    """Return an influence in two digits, with its sign."""
    return _signed(value, "+#.2g")


def title_of(
    labels: np.ndarray,
    predictions: np.ndarray | None,
    influence: np.ndarray,
    errors: np.ndarray,
    row: int,
) -> str:
    """Return a sample's labels, and its influence with its standard error."""
    names = written(labels[row])
    if predictions is not None:
        names = f"{names} → {written(predictions[row])}"
    spread = "" if np.isnan(errors[row]) else f" ± {_signed(errors[row], '.1g')}"
    return f"{names}\n{signed(influence[row])}{spread}"


def _signed(value: float, form: str) -> str:
    return format(value, form).replace("-", "−")


def _shortened(text: str, width: int) -> str:
    width = max(width, 6)
    return text if len(text) <= width else text[: width - 1] + "…"


def _write(ax: Axes, x: float, y: float, text: str, **placed: Any) -> None:
    # A $ in the data is not a formula, and long text must not change the layout.
    ax.text(x, y, text, fontsize=9.5, parse_math=False, clip_on=True, **placed).set(
        in_layout=False
    )


def _clear(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
    ax.spines[:].set_color("#808080")


def _are_texts(samples: Any) -> TypeGuard[Sequence[str]]:
    if hasattr(samples, "shape") and len(samples.shape) != 1:
        return False
    return len(samples) > 0 and all(isinstance(text, str) for text in samples)


def _array(samples: Any, name: str = "samples") -> np.ndarray:
    if hasattr(samples, "toarray"):
        raise ValueError(
            f"`{name}` must be dense, texts or a frame to be shown, got a sparse "
            "matrix. Pass its source, such as the texts, as `samples`."
        )
    if hasattr(samples, "detach"):
        samples = samples.detach().cpu()
    return np.asarray(samples)


def _reshaped(rows: np.ndarray, image_shape: tuple[int, ...]) -> np.ndarray:
    sizes = len(image_shape) in (2, 3) and all(map(is_integer, image_shape))
    if not sizes or np.size(rows[0]) != np.prod(image_shape):
        raise ValueError(
            "`image_shape` must be (height, width), (channels, height, width) or "
            f"(height, width, channels) of {np.size(rows[0])} numbers, got "
            f"{image_shape}."
        )
    return rows.reshape(len(rows), *image_shape)


def _channels_last(images: np.ndarray, name: str) -> np.ndarray:
    """Return the images as (n, height, width) or (n, height, width, 3), float."""
    # torch's order first: it is likelier where either axis could be the channels.
    if images.ndim == 4 and images.shape[1] in (1, 3):
        images = np.moveaxis(images, 1, -1)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.ndim != 3 and not (images.ndim == 4 and images.shape[-1] == 3):
        raise ValueError(
            f"`{name}` must be images of one or three channels, (n_samples, height, "
            f"width) with or without them, got shape {tuple(images.shape)}."
        )
    return images


def _range(images: np.ndarray) -> tuple[float, float]:
    """Return the values shown as black and as white."""
    low, high = float(images.min()), float(images.max())
    if images.dtype == np.uint8:
        return 0.0, 255.0
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _frame(samples: Any, feature_names: Names) -> pd.DataFrame:
    frame = samples if hasattr(samples, "iloc") else pd.DataFrame(_array(samples))
    if feature_names is None:
        named = hasattr(samples, "iloc")
        names = frame.columns if named else [f"x{k}" for k in range(frame.shape[1])]
    else:
        names = check_list("feature_names", feature_names, "names")
    if len(names) != frame.shape[1]:
        raise ValueError(
            f"`feature_names` must name {frame.shape[1]} features, got {len(names)}."
        )
    return frame.set_axis(names, axis=1)


def _z_scores(table: pd.DataFrame) -> np.ndarray:
    """Return how unusual each value is in its column; 0 where it is missing."""
    columns = []
    for k in range(table.shape[1]):
        column = table.iloc[:, k]
        if pd.api.types.is_numeric_dtype(column) and column.dtype != bool:
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
            present = values[~np.isnan(values)]
            mean, spread = (
                (present.mean(), present.std()) if len(present) else (0.0, 1.0)
            )
            scores = (values - mean) / (spread or 1.0)
        else:
            shares = column.map(column.value_counts(normalize=True))
            share = shares.to_numpy(dtype=np.float64, na_value=np.nan)
            scores = np.sqrt((1 - share) / share)
        columns.append(np.nan_to_num(scores))
    return np.stack(columns, axis=1)
