"""The tables that the documentation includes, as CSV files of finished text."""

import math
from pathlib import Path
from typing import Any

import pandas as pd


def write(table: pd.DataFrame, name: str, measured: Path) -> None:
    """Write a table to the folder `results` beside the file of the measurements.

    So a trial with an `--output` of its own leaves the documentation's figures alone.
    """
    folder = measured.parent / "results"
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False)


def store(rows: pd.DataFrame, output: Path, form: str = "%.6g") -> None:
    """Write the measurements as one file that is never half there.

    For what takes hours: stored after each row, it goes on where it was stopped.
    """
    part = output.with_suffix(".part")
    rows.to_csv(part, index=False, float_format=form)
    part.replace(output)


def plus_minus(mean: float, spread: float, form: str) -> str:
    """Return both numbers in a format; an empty text if there is none.

    Without a spread, of a single seed, there is the mean alone.
    """
    if math.isnan(mean):
        return ""
    text = f"{mean:{form}}"
    if not math.isnan(spread):
        text += f" ± {spread:{form.removeprefix('+')}}"
    return text.replace("-", "−")


def without_repeats(rows: list[dict[str, Any]], column: str) -> pd.DataFrame:
    """Return rows as a table that names each group once, in its first row."""
    table = pd.DataFrame(rows)
    table[column] = table[column].where(~table[column].duplicated(), "")
    return table
