"""The package itself: its names, imported when they are first used."""

import subprocess
import sys

import pytest

import skinfluence

# What takes long to import, from torch's seconds to pandas' tenths.
HEAVY = ["torch", "sklearn", "scipy", "pandas", "numpy"]


@pytest.mark.parametrize("name", ["cleaning", "commands", "datasets", "inspection"])
def test_rooms_are_attributes(name):
    assert getattr(skinfluence, name).__name__ == f"skinfluence.{name}"
    assert name in dir(skinfluence)


@pytest.mark.parametrize("name", skinfluence.__all__)
def test_names_are_those_of_their_rooms(name):
    assert getattr(skinfluence, name) is not None
    assert name in dir(skinfluence)


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'Cleaner'"):
        skinfluence.Cleaner  # noqa: B018


def test_help_imports_nothing_that_takes_long():
    script = f"""
import sys
from skinfluence.commands import main
try:
    main(["audit", "--help"])
except SystemExit:
    pass
print(sorted(set({HEAVY}) & set(sys.modules)))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
