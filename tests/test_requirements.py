"""The lowest versions that are accepted are those that are tried."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXTRAS = ("plot", "parquet", "report")


def version(text):
    numbers = [int(part) for part in text.split(".")]
    while numbers[-1] == 0:
        numbers.pop()
    return numbers


def test_the_lowest_versions_are_those_that_are_tried():
    lowest = ROOT / "lowest.txt"
    if not lowest.exists():
        pytest.skip("the package is installed without its sources")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [
        *project["dependencies"],
        *(line for name in EXTRAS for line in extras[name]),
    ]
    accepted = dict(re.match(r"([\w.-]+)>=([\d.]+)", line).groups() for line in lines)
    tried = dict(re.findall(r"^([\w.-]+)==([\d.]+)$", lowest.read_text(), re.MULTILINE))
    assert {k: version(v) for k, v in tried.items()} == {
        k: version(v) for k, v in accepted.items()
    }
