"""The charts of a page as geometry, which a template draws."""

from collections.abc import Mapping
from typing import Any

import numpy as np

_WIDTH, _HEIGHT = 560.0, 210.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 68.0, 12.0, 10.0, 40.0
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Chart = dict[str, Any]


class _Axis:
    """A linear axis: positions of values, and round values for its ticks."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high = (low, high) if high > low else (low - 1, high + 1)
        self.start, self.end = start, end
        # Labels from 0.01 to 99,999 are short without a power of ten.
        exponent = int(np.floor(np.log10(max(abs(self.low), abs(self.high)))))
        self.exponent = 0 if -2 <= exponent <= 4 else exponent

    def __call__(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return round(self.start + part * (self.end - self.start), 2)

    def ticks(self, number: int = 4) -> list[tuple[float, str]]:
        """Return positions and labels of round values."""
        step = (self.high - self.low) / number
        power = 10.0 ** np.floor(np.log10(step))
        step = power * min((1, 2, 5, 10), key=lambda k: abs(k - step / power))
        values = step * np.arange(np.ceil(self.low / step), self.high / step + 1e-9)
        scale = 10.0**self.exponent
        return [(self(value), _written(value / scale)) for value in values]

    def unit(self, unit: str) -> str:
        """Return a unit with the axis's power of ten, in brackets."""
        power = str(self.exponent).translate(_SUPERSCRIPTS)
        parts = [f"10{power}" if self.exponent else "", unit]
        inside = " ".join(filter(None, parts))
        return f" ({inside})" if inside else ""


def histogram(distribution: Mapping[str, Any], name: str, unit: str) -> Chart:
    """Return a histogram of the scores, with logarithmic heights."""
    edges, counts = distribution["edges"], distribution["counts"]
    x = _Axis(edges[0], edges[-1], _LEFT, _WIDTH - _RIGHT)
    top = np.log10(max(counts)) + 0.1
    # Starts below 10⁰, so that a bar of one sample has a height.
    y = _Axis(-0.3, top, _HEIGHT - _BOTTOM, _TOP)
    threshold = distribution["threshold"]
    bars = [
        {
            "x": x(low),
            "y": y(np.log10(count)),
            "width": round(max(x(high) - x(low) - 0.8, 0.8), 2),
            "height": round(_HEIGHT - _BOTTOM - y(np.log10(count)), 2),
            "suspect": threshold is not None and low <= threshold,
        }
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        if count
    ]
    powers = range(int(np.floor(top)) + 1)
    return _chart(
        x,
        f"{name}{x.unit(unit)}",
        "samples",
        [(y(power), f"{10**power:,}") for power in powers],
        bars=bars,
        zero=x(0.0),
    )


def scatter(check: Mapping[str, Any], unit: str) -> Chart:
    """Return exact against estimated influence, with the diagonal."""
    both = [*check["estimated"], *check["exact"], 0.0]
    pad = 0.05 * (max(both) - min(both))
    low, high = min(both) - pad, max(both) + pad
    x = _Axis(low, high, _LEFT, _WIDTH - _RIGHT)
    y = _Axis(low, high, _HEIGHT - _BOTTOM, _TOP)
    return _chart(
        x,
        f"estimated influence{x.unit(unit)}",
        "exact",
        y.ticks(),
        points=[
            (x(estimated), y(exact))
            for estimated, exact in zip(check["estimated"], check["exact"], strict=True)
        ],
        line=[(x(x.low), y(x.low)), (x(x.high), y(x.high))],
    )


def curve(search: Mapping[str, Any]) -> Chart:
    """Return the scores against the number removed, with their standard errors."""
    means = search["means"]
    errors = search["errors"] or [0.0] * len(means)
    # A number of samples that would empty a class has no score.
    finite = [
        (n, mean, error or 0.0)
        for n, mean, error in zip(search["n_removes"], means, errors, strict=True)
        if mean is not None
    ]
    ends = [mean + sign * error for _, mean, error in finite for sign in (-1, 1)]
    last = max(search["n_removes"])
    x = _Axis(-0.03 * last, 1.03 * last, _LEFT, _WIDTH - _RIGHT)
    y = _Axis(min(ends), max(ends), _HEIGHT - _BOTTOM - 6, _TOP + 6)
    return _chart(
        x,
        "removed samples (%)" if search["fractions"] else "removed samples",
        f"score, {search['n_folds']} folds",
        y.ticks(),
        points=[(x(n), y(mean)) for n, mean, _ in finite],
        line=[(x(n), y(mean)) for n, mean, _ in finite],
        bars=[],
        errors=[(x(n), y(m - e), y(m + e)) for n, m, e in finite if e],
    )


def _chart(
    x: _Axis, x_name: str, y_name: str, y_ticks: list[tuple[float, str]], **drawn: Any
) -> Chart:
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _WIDTH - _RIGHT,
        "top": _TOP,
        "bottom": _HEIGHT - _BOTTOM,
        "x_ticks": x.ticks(),
        "y_ticks": y_ticks,
        "x_name": x_name,
        "y_name": y_name,
        "bars": [],
        "points": [],
        "line": [],
        "errors": [],
        "zero": None,
        **drawn,
    }


def _written(value: float) -> str:
    return f"{value + 0.0:.4g}".replace("-", "−")
