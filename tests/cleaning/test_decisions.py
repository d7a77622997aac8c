"""Files and tables of decisions, read back and checked."""

import json
import os

import numpy as np
import pandas as pd
import pytest

from skinfluence.cleaning import Decisions, data_fingerprint, read_decisions
from skinfluence.exceptions import DecisionsError

X = np.arange(24.0).reshape(8, 3)
Y = np.array(["cat", "dog", "=1+1", "'quote", "-3", "cat", "dog", "cat"], dtype=object)
OWN = data_fingerprint(X, Y)


def table(*rows, fingerprint=OWN):
    frame = pd.DataFrame(rows, columns=["sample", "decision", "label"])
    return frame.assign(fingerprint=fingerprint)


def csv_file(path, *rows, fingerprint=OWN, separator=",", start="\ufeff"):
    lines = [["sample", "decision", "label", "fingerprint"]]
    lines += [[*row, fingerprint] for row in rows]
    text = "\r\n".join(separator.join(map(str, line)) for line in lines)
    path.write_bytes((start + text + "\r\n").encode())
    return path


def test_reads_a_table():
    rows = [(7, "remove", ""), (0, "relabel", "dog"), (3, "keep", None)]
    decisions = read_decisions(table(*rows), X, Y)
    assert decisions.removed.tolist() == [7]
    assert decisions.kept.tolist() == [3]
    assert decisions.relabelled == {0: "dog"}
    assert len(decisions) == 3


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_reads_csv_as_spreadsheets_save_it(tmp_path, separator, start):
    rows = [(1, "Keep ", ""), (2.0, "REMOVE", ""), ("4", "relabel", '"cat"')]
    path = csv_file(tmp_path / "d.csv", *rows, separator=separator, start=start)
    for source in (path, str(path)):
        decisions = read_decisions(source, X, Y)
        assert decisions.removed.tolist() == [2]
        assert decisions.relabelled == {4: "cat"}


def test_reads_json(tmp_path):
    decided = [
        {"sample": 0, "decision": "relabel", "label": "'quote"},
        {"sample": 1, "decision": "relabel", "label": "=1+1"},
        {"sample": 2, "decision": "remove", "label": ""},
    ]
    path = tmp_path / "d.json"
    path.write_text(json.dumps({"fingerprint": OWN, "decisions": decided}))
    decisions = read_decisions(path, X, Y)
    assert decisions.relabelled == {0: "'quote", 1: "=1+1"}
    assert decisions.removed.tolist() == [2]


def test_labels_in_json_are_as_they_stand(tmp_path):
    path = tmp_path / "d.json"
    decided = [{"sample": 0, "decision": "relabel", "label": "quote"}]
    path.write_text(json.dumps({"fingerprint": OWN, "decisions": decided}))
    with pytest.raises(DecisionsError, match="got 'quote' for sample 0"):
        read_decisions(path, X, Y)


@pytest.mark.parametrize(
    ("written", "label"),
    [("'=1+1", "=1+1"), ("''quote", "'quote"), ("'quote", "'quote"), ("-3", "-3")],
)
def test_takes_away_the_apostrophe_before_formulas(tmp_path, written, label):
    path = csv_file(tmp_path / "d.csv", (0, "relabel", f'"{written}"'))
    assert read_decisions(path, X, Y).relabelled == {0: label}


@pytest.mark.parametrize("written", ["2", "2.0", 2, 2.0])
def test_numbers_as_labels_keep_their_type(written):
    y = np.arange(8) % 3
    source = table((0, "relabel", written), fingerprint=data_fingerprint(X, y))
    (label,) = read_decisions(source, X, y).relabelled.values()
    assert label == 2
    assert isinstance(label, int)


@pytest.mark.parametrize("written", ["-2.5", "'-2.5", -2.5])
def test_targets_of_a_regressor_are_any_numbers(written):
    y = np.linspace(0, 1, 8)
    source = table((3, "relabel", written), fingerprint=data_fingerprint(X, y))
    assert read_decisions(source, X, y, regression=True).relabelled == {3: -2.5}
    with pytest.raises(DecisionsError, match="must be labels of y"):
        read_decisions(source, X, y)


def test_data_as_it_is_shown_is_the_data_too():
    raw = pd.DataFrame({"text": [*"abcdefgh"]})
    both = f"{OWN}+{data_fingerprint(raw, Y)}"
    source = table((0, "remove", ""), fingerprint=both)
    for data in (X, raw):
        assert read_decisions(source, data, Y).removed.tolist() == [0]


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([(0, "delete", "")], "must be keep, remove or relabel, got 'delete'"),
        ([(0, "relabel", "bird")], "must be labels of y .*'cat'.*got 'bird'"),
        ([(0, "relabel", "")], "must be labels of y .*got ''"),
        ([(0, "relabel", None)], "must be labels of y"),
        (
            [(0, "keep", ""), (0, "remove", "")],
            "each sample once, got sample 0 2 times",
        ),
        ([(8, "keep", "")], "row numbers from 0 to 7, got"),
        ([(-1, "keep", "")], "row numbers from 0 to 7, got"),
        ([(1.5, "keep", "")], "row numbers from 0 to 7, got"),
        ([("one", "keep", "")], "row numbers from 0 to 7, got 'one'"),
        ([(True, "keep", "")], "row numbers from 0 to 7, got .*True"),
        ([(pd.Timestamp(5), "keep", "")], "row numbers from 0 to 7, got Timestamp"),
        ([(10**400, "keep", "")], "row numbers from 0 to 7, got 1000"),
        ([(float("inf"), "keep", "")], "row numbers from 0 to 7, got .*inf"),
        ([([1], "keep", "")], r"row numbers from 0 to 7, got \[1\]"),
        ([(0, ["keep", "keep"], "")], r"must be keep, .* got \"\['keep', 'keep'\]"),
        ([(0, "relabel", ["cat", "dog"])], r"must be labels of y .* got \"\['cat', "),
        ([], "at least one decision"),
    ],
)
def test_refuses_what_is_no_decision(rows, match):
    with pytest.raises(DecisionsError, match=match):
        read_decisions(table(*rows), X, Y)


def test_refuses_other_data():
    source = table((0, "keep", ""))
    for other in ((X + 1, Y), (X[::-1], Y), (X, Y[::-1])):
        with pytest.raises(DecisionsError, match="are about other data"):
            read_decisions(source, *other)
    mixed = pd.concat([source, table((1, "keep", ""), fingerprint="data-0")])
    with pytest.raises(DecisionsError, match="the same data, got 2 fingerprints"):
        read_decisions(mixed, X, Y)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf \r\n", "is empty"),
        (b"\xff\xfe\x00a", "must be UTF-8"),
        (b"sample,decision\r\n1,keep\r\n", "there is no label, fingerprint"),
        (b"sample,decision,label,fingerprint\r\n", "at least one decision"),
        (b"sample,decision,label,fingerprint\r\n1,keep\r\n", "numbers of fields"),
        (b"{]", "cannot be read"),
        (b'{"decisions": []}', "cannot be read"),
        (b'{"decisions": 3, "fingerprint": "x"}', "cannot be read"),
        (b"[1, 2]", "cannot be read"),
        (
            b'{"fingerprint": "x", "decisions": [], "decisions": []}',
            "a name is repeated among .'fingerprint', 'decisions', 'decisions'",
        ),
        (
            b'sample,decision,fingerprint,label\n1,keep,x,"\n2,keep,x,\n',
            "unexpected end of data",
        ),
        (b"\x89PNG\r\n\x1a\n", "must be UTF-8"),
    ],
)
def test_refuses_unreadable_files(tmp_path, content, match):
    path = tmp_path / "decisions"
    path.write_bytes(content)
    with pytest.raises(DecisionsError, match=match):
        read_decisions(path, X, Y)


def test_refuses_what_is_no_file(tmp_path):
    for name in ("nothing.csv", 300 * "long"):
        with pytest.raises(DecisionsError, match="cannot be read"):
            read_decisions(tmp_path / name, X, Y)
    # A pipe that nobody writes to would never end.
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(DecisionsError, match="must be a file, and not a folder, p"):
            read_decisions(path, X, Y)
    with pytest.raises(TypeError, match="`decisions` must be the path"):
        read_decisions([1, 2], X, Y)


@pytest.mark.parametrize(
    ("kept", "removed", "relabelled", "error", "match"),
    [
        (np.array([True, False]), [], {}, TypeError, "`kept` must be row numbers"),
        ([], [1.0], {}, TypeError, "`removed` must be row numbers"),
        ([], [[1]], {}, TypeError, "`removed` must be row numbers"),
        (None, [], {}, TypeError, "`kept` must be row numbers, got None"),
        ([], [], [(1, "a")], TypeError, "`relabelled` must be a dict"),
        ([], [], {"1": "a"}, TypeError, "`relabelled` must be row numbers"),
        ([-1], [], {}, ValueError, "`kept` must be row numbers from 0, got -1"),
        ([4], [3, 1, 3], {}, ValueError, "each row once, got row 3 2 times"),
        ([4], [1], {4: "a"}, ValueError, "each row once, got row 4 2 times"),
    ],
    ids=["mask", "float", "axes", "none", "pairs", "key", "negative", "twice", "both"],
)
def test_decisions_are_about_rows_each_named_once(
    kept, removed, relabelled, error, match
):
    with pytest.raises(error, match=match):
        Decisions(kept, removed, relabelled)


def test_a_table_is_about_rows_that_are_there():
    decisions = Decisions([7], [], {np.int64(8): "cat"})
    assert list(decisions.relabelled) == [8]
    with pytest.raises(ValueError, match="one is about row 8, got 8 rows"):
        decisions.to_frame(X, Y)


@pytest.mark.parametrize(
    ("label", "written"),
    [
        ("=1", "'=1"),
        (" \n=1", "' \n=1"),
        ("＝1", "'＝1"),
        ("\n1", "'\n1"),
        ("'a", "''a"),
        ("-a", "'-a"),
        ("-3.5e2", "-3.5e2"),
        ("a=1", "a=1"),
        (-3, -3),
    ],
)
def test_no_spreadsheet_runs_a_label(tmp_path, label, written):
    # As the page of a report writes it.
    y = np.array([label, 7, "b", "c"] * 2 if isinstance(label, str) else [label, 7] * 4)
    frame = Decisions([], [], {1: label}).to_frame(X, y)
    assert frame["label"].tolist() == [written]
    frame.to_csv(tmp_path / "d.csv", index=False)
    assert read_decisions(tmp_path / "d.csv", X, y).relabelled == {1: label}
