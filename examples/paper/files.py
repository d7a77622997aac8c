"""Files of the experiments: whole or not there, with what made them beside them."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

RESULTS = Path(__file__).resolve().parent / "results"


def write_table(table: pd.DataFrame, path: Path, digits: str | None = "%.6g") -> None:
    """Write a table as CSV."""
    _write(path, table.to_csv(index=False, float_format=digits))


def kept(path: Path, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Read a table that is there already, or compute it and keep it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(compute(), path, digits=None)
    return pd.read_csv(path, float_precision="round_trip")


def write_about(path: Path, **settings: Any) -> None:
    """Write which command made a result, under which versions and settings."""
    script = f"examples/paper/{Path(sys.argv[0]).name}"
    about = {
        "command": shlex.join(["python", script, *sys.argv[1:]]),
        "python": platform.python_version(),
        **{name: version(name) for name in ("skinfluence", "torch", "scikit-learn")},
        **settings,
    }
    _write(path, json.dumps(about, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    # Renamed at the end: a run that is killed leaves a whole file.
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
