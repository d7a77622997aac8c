"""Folders that somebody else has made: refused by name, and nothing beyond touched."""

import copy
import json
import os
import random

import pytest

from skinfluence import Trajectory
from skinfluence._files import checksum, sealed
from skinfluence.exceptions import TrajectoryFileError
from skinfluence.trajectory import reopened
from tests.trajectory.test_disk import in_memory, read_all


@pytest.fixture
def saved(tmp_path):
    (tmp_path / "precious").write_text("mine")
    in_memory().save(tmp_path / "runs" / "run")
    yield tmp_path / "runs" / "run"
    assert (tmp_path / "precious").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["precious", "runs"]


def manifest(folder):
    return json.loads((folder / "manifest.json").read_bytes())["content"]


def forge(folder, content):
    (folder / "manifest.json").write_bytes(sealed(content))


def journal(folder):
    lines = (folder / "journal.jsonl").read_bytes().splitlines()
    return [json.loads(line[9:]) for line in lines]


def forge_journal(folder, lines):
    texts = (json.dumps(line).encode() for line in lines)
    whole = b"".join(checksum(t).encode() + b" " + t + b"\n" for t in texts)
    (folder / "journal.jsonl").write_bytes(whole)
    forge(folder, {**manifest(folder), "journal_bytes": 0})


OUTSIDE = [
    "../../precious",
    "../precious",
    "/etc/passwd",
    "states-000000.safetensors/../../../precious",
    "states-000000.safetensors\n",
    "lock",
    "",
    ".",
    None,
    3,
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("read", [Trajectory.load, reopened])
def test_a_name_of_another_form(saved, name, read):
    content = manifest(saved)
    content["shards"][0]["file"] = name
    forge(saved, content)
    with pytest.raises(TrajectoryFileError, match=r"manifest\.json"):
        read(saved)


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("read", [Trajectory.load, reopened])
def test_a_name_of_another_form_in_the_journal(saved, name, read):
    lines = journal(saved)
    lines[0]["untrained"]["file"] = name
    forge_journal(saved, lines)
    with pytest.raises(TrajectoryFileError, match=r"journal\.jsonl"):
        read(saved)


@pytest.mark.parametrize("target", ["precious", "new", "/dev/zero"])
@pytest.mark.parametrize(
    "name", ["lock", "journal.jsonl", "manifest.json", "states-000009.safetensors"]
)
def test_a_link_is_neither_written_nor_followed(saved, name, target):
    (saved / name).unlink(missing_ok=True)
    (saved / name).symlink_to(saved.parents[1] / target)
    with pytest.raises(TrajectoryFileError, match=rf"{name}.* it is a link"):
        reopened(saved)


def test_the_folder_may_not_be_a_link_to_go_on(saved):
    link = saved.with_name("link")
    link.symlink_to(saved)
    with pytest.raises(TrajectoryFileError, match=r"link.* it is a link"):
        reopened(link)
    read_all(link)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.parametrize("name", ["journal.jsonl", "states-000000.safetensors"])
def test_a_pipe_is_not_waited_for(saved, name):
    (saved / name).unlink()
    os.mkfifo(saved / name)
    with pytest.raises(TrajectoryFileError, match=rf"{name}.* not a regular file"):
        read_all(saved)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", float("nan")),
        ("version", -5),
        ("version", "2"),
        ("version", True),
        ("run", {"seed": "x", "keep_epochs": None}),
        ("run", {"seed": 3, "keep_epochs": -1}),
        ("run", {"seed": 3, "keep_epochs": None, "oldest": 3}),
        ("run", None),
        ("about", []),
        ("finished", 1),
        ("journal_bytes", -1),
        ("journal_bytes", "many"),
        ("journal_bytes", 10**12),
        ("shards", {}),
        ("shards", [{}]),
        ("shards", [3]),
    ],
)
def test_what_a_manifest_may_not_say(saved, key, value):
    forge(saved, {**manifest(saved), key: value})
    with pytest.raises(TrajectoryFileError, match=r"manifest\.json|journal\.jsonl"):
        Trajectory.load(saved)
    content = manifest(saved)
    del content[key]
    forge(saved, content)
    with pytest.raises(TrajectoryFileError, match=r"manifest\.json"):
        Trajectory.load(saved)


@pytest.mark.parametrize(
    "states",
    [
        [[0, 10**9, 1, 8]],
        [[0, 11, 1, 8]] * 10**4,
        [[3, 2, 1, 8]],
        [[0, 3, 0, 8]],
        [[-1, 3, 1, 8]],
        [[0, 1, 1, -8]],
        [[0, 1, 1]],
        [[0.0, 1, 1, 8]],
        [8],
    ],
)
def test_states_that_cannot_be(saved, states):
    content = manifest(saved)
    content["shards"][0]["states"] = states
    forge(saved, content)
    with pytest.raises(TrajectoryFileError, match=r"manifest\.json"):
        Trajectory.load(saved)


@pytest.mark.parametrize("name", ["manifest.json", "journal.jsonl"])
def test_json_that_is_nested_without_end(saved, name):
    deep = 10**5 * b"[" + 10**5 * b"]"
    lines = {
        "manifest.json": b'{"crc32": "", "content": ' + deep + b"}",
        "journal.jsonl": checksum(deep).encode() + b" " + deep + b"\n",
    }
    (saved / name).write_bytes(lines[name])
    with pytest.raises(TrajectoryFileError, match=name):
        Trajectory.load(saved)


@pytest.mark.parametrize("name", ["manifest.json", "journal.jsonl", "states-000000"])
def test_a_file_that_is_one_large_hole(saved, name):
    path = next(saved.glob(f"{name}*"))
    with path.open("r+b") as file:
        file.truncate(10**12)
    with pytest.raises(TrajectoryFileError, match=name):
        read_all(saved)


VALUES = [None, True, -1, 10**9, 10**30, float("nan"), "", "../x", [], {}, [[]], 1.5]


def places(node, before=()):
    pairs = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in pairs:
        yield (*before, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*before, key))


def changed(node, rng):
    """Return a document with a value somewhere replaced."""
    whole = at = copy.deepcopy(node)
    *way, last = rng.choice(list(places(whole)))
    for key in way:
        at = at[key]
    at[last] = rng.choice(VALUES)
    return whole


def complaint(folder):
    """Read all that is said to be there; return what is said against it."""
    try:
        run = Trajectory.load(folder)
        for step in run.kept:
            run.state(step)
    except TrajectoryFileError as error:
        return str(error)
    return None


@pytest.mark.parametrize("seed", range(3))
def test_any_value_replaced_is_named_or_harmless(saved, seed):
    rng = random.Random(seed)
    content, lines = manifest(saved), journal(saved)
    for number in range(100):
        if number % 2:
            forge(saved, changed(content, rng))
        else:
            forge(saved, content)
            forge_journal(saved, changed(lines, rng))
        said = complaint(saved)
        assert said is None or str(saved) in said
