"""The oracle is scikit-learn's own fetcher, which reads a cache made from the posts."""

import gzip
import json
import pickle
import sys
import zlib
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import sklearn.datasets

from skinfluence.datasets import fetch_20newsgroups

GROUPS = ["alt.atheism", "rec.autos", "sci.space"]
TEXT = """From: {id}@example.org
Subject: {group}

Somebody wrote:
> what was said before
First answer of {id}.\r

Second answer, café.

--
{id} of {group}"""
# Here it matters whether the footer or the quote goes first.
QUOTE_LAST = "From: {id}@example.org\n\nA question on {group}\n\n> quoted"


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Make the same posts into scikit-learn's cache and into a local file."""
    root = tmp_path_factory.mktemp("newsgroups")
    cache = {split: archive(root, split) for split in ("train", "test")}
    home, folder = root / "home", root / "folder"
    home.mkdir()
    folder.mkdir()
    (home / "20news-bydate_py3.pkz").write_bytes(zlib.compress(pickle.dumps(cache)))
    with gzip.open(folder / "newsgroups.jsonl.gz", "wt", encoding="utf-8") as file:
        for split, posts in cache.items():
            places = sklearn.datasets.fetch_20newsgroups(data_home=home, subset=split)
            for place, name in sorted(enumerate(places.filenames), key=lambda p: p[1]):
                post = {
                    "split": split,
                    "group": Path(name).parent.name,
                    "id": Path(name).name,
                    "sklearn_index": place,
                    "text": posts.data[posts.filenames.tolist().index(name)],
                }
                file.write(json.dumps(post, ensure_ascii=False) + "\n")
    return home, folder


def archive(root, split):
    """Lay the posts of a split out as the original archive does, and read them."""
    top = root / f"20news-bydate-{split}"
    for g, group in enumerate(GROUPS):
        (top / group).mkdir(parents=True)
        for i in range({"train": 9, "test": 5}[split] + g):
            number = f"{g}{i}{split}"
            text = (TEXT if i % 2 else QUOTE_LAST).format(id=number, group=group)
            (top / group / number).write_bytes(text.encode("latin1"))
    return sklearn.datasets.load_files(top, encoding="latin1")


OPTIONS = [
    {},
    {"subset": "test"},
    {"subset": "all"},
    {"shuffle": False},
    {"subset": "all", "shuffle": False},
    {"random_state": 7},
    {"categories": ["sci.space", "alt.atheism"]},
    {"categories": ["rec.autos"], "subset": "all", "random_state": 1},
    {"remove": ("headers",)},
    {"remove": ("quotes", "footers")},
    {"remove": ("headers", "footers", "quotes"), "categories": ["sci.space"]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("local", [True, False], ids=["local", "remote"])
def test_gives_what_scikit_learn_gives(sources, monkeypatch, options, local):
    home, folder = sources
    monkeypatch.setenv("SKINFLUENCE_DATA", str(folder) if local else "")
    expected = sklearn.datasets.fetch_20newsgroups(data_home=home, **options)
    # A folder without a cache, so that the local route cannot fall back on it.
    bunch = fetch_20newsgroups(data_home=folder if local else home, **options)
    assert bunch.data == expected.data
    assert bunch.target.dtype == expected.target.dtype
    np.testing.assert_array_equal(bunch.target, expected.target)
    assert bunch.target_names == expected.target_names
    assert tails(bunch) == tails(expected)


def tails(bunch):
    return [Path(name).parts[-3:] for name in bunch.filenames]


def test_random_state_none_and_instances_shuffle(sources, monkeypatch):
    monkeypatch.setenv("SKINFLUENCE_DATA", str(sources[1]))
    rng = np.random.RandomState(0)
    first, second = (fetch_20newsgroups(random_state=rng).data for _ in range(2))
    assert first != second
    assert sorted(first) == sorted(second)


def test_return_X_y(sources, monkeypatch):
    monkeypatch.setenv("SKINFLUENCE_DATA", str(sources[1]))
    bunch = fetch_20newsgroups()
    texts, target = fetch_20newsgroups(return_X_y=True)
    assert texts == bunch.data
    np.testing.assert_array_equal(target, bunch.target)


@pytest.mark.parametrize("local", [True, False], ids=["local", "remote"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subset": "val"}, "`subset` must be 'train', 'test' or 'all', got 'val'"),
        ({"categories": ["sci.spice"]}, r"`categories` .*alt.atheism.*'sci.spice'"),
        ({"categories": "sci.space"}, "`categories` must be .* got 'sci.space'"),
        ({"categories": []}, r"`categories` must be .* got \[\]"),
        ({"remove": ("signatures",)}, r"`remove` must be .*'footers'.*'signatures'"),
        ({"remove": "headers"}, "`remove` must be .* got 'headers'"),
    ],
)
def test_refuses_bad_options(sources, monkeypatch, local, options, message):
    home, folder = sources
    monkeypatch.setenv("SKINFLUENCE_DATA", str(folder) if local else "")
    with pytest.raises(ValueError, match=message):
        fetch_20newsgroups(data_home=home, **options)


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SKINFLUENCE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"newsgroups\.jsonl\.gz"):
        fetch_20newsgroups()


def test_a_scikit_learn_that_strips_otherwise_is_reported(sources, monkeypatch):
    monkeypatch.setenv("SKINFLUENCE_DATA", str(sources[1]))
    monkeypatch.setitem(sys.modules, "sklearn.datasets._twenty_newsgroups", None)
    with pytest.raises(ImportError, match=r"Use `remove=\(\)`"):
        fetch_20newsgroups(remove=("headers",))


def test_without_network_the_variable_is_named(monkeypatch):
    def fail(**options):
        raise URLError("no route")

    monkeypatch.delenv("SKINFLUENCE_DATA", raising=False)
    monkeypatch.setattr(sklearn.datasets, "fetch_20newsgroups", fail)
    with pytest.raises(URLError, match="SKINFLUENCE_DATA"):
        fetch_20newsgroups()
