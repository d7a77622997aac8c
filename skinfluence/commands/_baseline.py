"""What an earlier check found: only what is new since then counts."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..exceptions import TableError
from ._findings import FORMAT, Found

Baseline = dict[str, "Counter[str]"]
"""For each kind how often each key was found."""


def read_baseline(path: Path, target: str) -> Baseline:
    """Read the JSON file of an earlier check for the same target."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TableError(
            f"The file {str(path)!r} cannot be read: {error.strerror or error}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise _no_baseline(path) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _no_baseline(path)
    if content.get("target") != target:
        raise TableError(
            f"--baseline must be about the target {target!r}, got {path.name!r} about "
            f"{content.get('target')!r}."
        )
    found: Baseline = {}
    for issue in _items(content.get("issues"), dict, path):
        kind, keys = issue.get("kind"), _items(issue.get("keys"), str, path)
        if not isinstance(kind, str):
            raise _no_baseline(path)
        found.setdefault(kind, Counter()).update(keys)
    return found


def new_since(baseline: Baseline, found: Sequence[Found]) -> list[Found]:
    """Return what was found with those keys only that the baseline does not have."""
    known = {kind: Counter(keys) for kind, keys in baseline.items()}
    return [
        replace(each, keys=list(_new(each.keys, known.get(each.kind, Counter()))))
        for each in found
    ]


def _new(keys: Sequence[str], known: "Counter[str]") -> Iterator[str]:
    for key in keys:
        if known[key]:
            known[key] -= 1
        else:
            yield key


def _items(values: Any, kind: type, path: Path) -> list[Any]:
    if not isinstance(values, list) or not all(isinstance(v, kind) for v in values):
        raise _no_baseline(path)
    return values


def _no_baseline(path: Path) -> TableError:
    return TableError(
        f"--baseline must be a file written by `skinfluence check --json`, got "
        f"{path.name!r}, which is none."
    )
