"""The rooms import only from rooms to their left."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import skinfluence

ROOT = Path(skinfluence.__file__).parent
# influence and counterfactual stand side by side: neither knows the other.
RANKS = {
    "_digits": -1,
    "_long_fields": -1,
    "_numbers": -1,
    "_progress": -1,
    "_short_repr": -1,
    "_summary": -1,
    "_upright": -1,
    "_values": -1,
    "_parallel": -0.5,
    "exceptions": 0,
    "_files": 0.5,
    "_folders": 0.6,
    "_keys": 0.5,
    "_outputs": 0.6,
    "_cache": 0.7,
    "_names": 0,
    "_version": 0,
    "_warnings": 0,
    "_interrupts": 0,
    "datasets": 0,
    "queries": 0.5,
    "training": 1,
    "trajectory": 2,
    "influence": 3,
    "counterfactual": 3,
    "estimators": 4,
    "recorder": 5,
    "scorers": 5,
    "metrics": 5,
    "cleaning": 6,
    "issues": 6.5,
    "inspection": 7,
    "commands": 8,
    "__main__": 9,
}
TORCH_ONLY = {"queries", "training", "trajectory", "influence", "counterfactual"}
# Private packages inside a room, in the order in which they may know each other.
SUBROOMS = {
    "estimators": ["_recording", "_questions", "_saving"],
    "inspection": ["_report"],
    "trajectory": ["_disk"],
}
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


def name_of(path: Path) -> str:
    parts = ("skinfluence", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def graph() -> dict[str, set[str]]:
    """Return which modules each module of the package imports."""
    modules = {name_of(path): path for path in ROOT.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for name, path in modules.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        found[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = package.split(".")[: len(package.split(".")) - node.level + 1]
                stem = ".".join([*base, *([node.module] if node.module else [])])
                names = [f"{stem}.{alias.name}" for alias in node.names]
                # A name that a package offers is no import of the package by itself
                # within the package: `from . import x` is one of the module x.
                targets = [n if n in modules else stem for n in names]
                found[name] |= {t for t in targets if t in modules} - {name}
    return found


def test_no_module_imports_itself_through_others():
    TopologicalSorter(graph()).prepare()  # raises CycleError


@pytest.mark.parametrize("room", SUBROOMS)
def test_private_packages_of_a_room_are_all_named(room):
    folders = {p.parent.name for p in (ROOT / room).glob("*/__init__.py")}
    assert folders == set(SUBROOMS[room])


def test_private_packages_import_only_from_the_left():
    for name, targets in graph().items():
        _, room, *rest = *name.split("."), "", ""
        order = SUBROOMS.get(room, [])
        if rest[0] not in order:
            continue
        for target in targets:
            parts = target.split(".")
            if parts[1] == room and len(parts) > 3 and parts[2] in order:
                assert order.index(parts[2]) <= order.index(rest[0]), (
                    f"{name} imports {target}"
                )
