"""Timing of functions against each other within one run."""

import gc
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sklearn
import skorch
import torch

import skinfluence


def interleaved(
    functions: Mapping[str, Callable[[], Any]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds of each function's runs, all taken in turn.

    In turn, so that drifts of the machine's speed affect all of them alike; after a
    warm-up call each. Without files and devices, `time.process_time` is the better
    clock: other programs that run do not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            gc.collect()
            start = clock()
            function()
            seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], over: str, under: str) -> dict[str, Any]:
    """Return the ratio of two times: the median over pairs, and that of the minima."""
    pairs = [a / b for a, b in zip(seconds[over], seconds[under], strict=True)]
    return {
        "ratio": f"{over} / {under}",
        "median": statistics.median(pairs),
        "of minima": min(seconds[over]) / min(seconds[under]),
    }


def environment() -> dict[str, Any]:
    """Return the versions and the hardware that the figures depend on."""
    return {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        **{
            module.__name__: module.__version__
            for module in (skinfluence, torch, skorch, sklearn, np)
        },
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as an aligned text table."""
    names = list(rows[0])
    text = [
        [f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(names, *text, strict=True)]
    lines = [names, ["-" * width for width in widths], *text]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def missed(rows: list[dict[str, Any]], why: Mapping[str, str]) -> str:
    """Return which rows are above what they should be at most, and why they are."""
    above = [
        row
        for row in rows
        if isinstance(row.get("at most"), float)
        and row.get("median", 0.0) > row["at most"]
    ]
    kinds = dict.fromkeys(row["ratio"] for row in above)
    return "\n".join(
        f"Missed in {sum(row['ratio'] == kind for row in above)} rows, {kind}: "
        f"{why.get(kind, 'not known')}"
        for kind in kinds
    )
