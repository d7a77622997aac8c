"""What the API page lists has an example in its docstring, which pytest runs."""

import csv
import importlib
import inspect
import re
from pathlib import Path

import pytest

from skinfluence.scorers._base import NAMED_SCORERS

PAGE = Path(__file__).parent.parent / "docs" / "api.rst"


def listed_names():
    """Return the full names that the API page lists."""
    module, listed, names = "", False, []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = found[1]
        elif line.startswith(".. autosummary::"):
            listed = True
        elif listed and (found := re.match(r"   ([\w.]+)$", line)):
            names.append(f"{module}.{found[1]}")
        elif line and not line.startswith(" "):
            listed = False
    return names


def listed_object(name):
    parts = name.split(".")
    for k in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for part in parts[k:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"{name} is in no module.")


def public_names():
    """Return the names of what the rooms for users offer, by object."""
    rooms = ("", ".cleaning", ".datasets", ".exceptions", ".inspection", ".metrics")
    for room in (*rooms, ".queries", ".scorers"):
        module = importlib.import_module(f"skinfluence{room}")
        for name in module.__all__:
            if callable(found := getattr(module, name)):
                yield f"{module.__name__}.{name}", found


@pytest.mark.parametrize("name", listed_names())
def test_has_an_example(name):
    lines = inspect.getdoc(listed_object(name)).splitlines()
    assert "Examples" in lines
    # What the section holds is a program, not prose.
    assert any(line.startswith(">>> ") for line in lines[lines.index("Examples") :])


def test_the_page_lists_every_name_for_users():
    listed = [listed_object(name) for name in listed_names()]
    missing = [name for name, found in public_names() if found not in listed]
    assert missing == []


def test_the_guide_names_every_scorer():
    guide = PAGE.with_name("scorers.rst").read_text(encoding="utf-8")
    assert [name for name in NAMED_SCORERS if f'"{name}"' not in guide] == []


def test_the_table_of_what_can_be_retraced_names_tests_that_there_are():
    with PAGE.with_name("retraceable.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) > 15
    for row in rows:
        assert (Path(__file__).parent / row["tested in"]).is_file(), row
