"""The rooms import only from rooms to their left."""

import ast
from pathlib import Path

import pytest

import skinfluence

ROOT = Path(skinfluence.__file__).parent
# influence and counterfactual stand side by side: neither knows the other.
RANKS = {
    "exceptions": 0,
    "_cache": 0.5,
    "_files": 0.5,
    "_names": 0,
    "_version": 0,
    "datasets": 0,
    "training": 1,
    "trajectory": 2,
    "influence": 3,
    "counterfactual": 3,
    "estimators": 4,
    "scorers": 5,
    "metrics": 5,
    "cleaning": 6,
    "inspection": 7,
    "commands": 8,
    "__main__": 9,
}
TORCH_ONLY = {"training", "trajectory", "influence", "counterfactual"}
MODULES = sorted(p for p in ROOT.rglob("*.py") if p.parent != ROOT or p.stem[0] == "_")


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def imports(path: Path) -> set[str]:
    """Return the absolute names of all modules that a file imports."""
    package = ("skinfluence", *path.relative_to(ROOT).parts[:-1])
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names |= {stem} if node.module else {f"{stem}.{a.name}" for a in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_from_the_left(path):
    own = room_of(path)
    if own == "__init__":
        return
    for name in imports(path):
        if name.startswith("skinfluence."):
            room = name.split(".")[1]
            assert room == own or RANKS[room] < RANKS[own], f"{own} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_inner_rooms_know_torch_only(path):
    if room_of(path) in TORCH_ONLY:
        outside = {name.split(".")[0] for name in imports(path)}
        assert not outside & {"sklearn", "skorch", "pandas"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_use_each_others_front_door(path):
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "skinfluence" and len(parts) > 2 and parts[1] != room_of(path):
            pytest.fail(f"{name} is private to its room")
