"""Files of decisions as the report saves them: damage is named, sorting is not."""

import csv
import io
import json
import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import skinfluence.inspection
from skinfluence.cleaning import data_fingerprint, read_decisions
from skinfluence.exceptions import DecisionsError

X = np.arange(36.0).reshape(12, 3)
Y = np.array(["cat", "dög", "=1+1", "1.0"] * 3, dtype=object)
NUMBERS = np.linspace(-1, 1, 12)
ROWS = [
    (7, "remove", ""),
    (0, "relabel", "dög"),
    (3, "keep", ""),
    (5, "relabel", "=1+1"),
    (9, "relabel", "1.0"),
    (11, "remove", ""),
]
TARGETS = [(7, "remove", ""), (0, "relabel", "-2.50"), (3, "keep", "")]
HEADER = ("sample", "decision", "label", "fingerprint", "check")
SCRIPT = Path(skinfluence.inspection.__file__).parent / "_report/templates/report.js"


def check_of(row, count, fingerprint, numeric):
    """Return a row's check, written down a second time."""
    sample, word, label = row
    if numeric and word == "relabel":
        label = struct.pack(">d", float(label)).hex()
    text = "\n".join([str(sample), word, label, fingerprint, str(count)])
    return f"v1-{count}-{zlib.crc32(text.encode()):08x}"


def saved(y=Y, rows=ROWS):
    """Return the rows of a file, with their fingerprint and check."""
    own, numeric = data_fingerprint(X, y), y is NUMBERS
    return [(*row, own, check_of(row, len(rows), own, numeric)) for row in rows]


def as_csv(rows, header=HEADER, separator=",", end="\r\n", start="\ufeff", quote=False):
    text = io.StringIO(newline="")
    how = csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=separator, lineterminator=end, quoting=how)
    writer.writerows([header, *rows])
    return (start + text.getvalue()).encode()


def as_json(rows, **others):
    names = (*HEADER[:3], "check")
    decisions = [dict(zip(names, (*row[:3], row[4]), strict=True)) for row in rows]
    kind = {"format": "skinfluence-decisions", "version": 2}
    about = {**kind, "fingerprint": rows[0][3], **others}
    return json.dumps({**about, "decisions": decisions}).encode()


@pytest.fixture
def read(tmp_path):
    def read(content, y=Y):
        path = tmp_path / "decisions"
        path.write_bytes(content)
        decisions = read_decisions(path, X, y, regression=y is NUMBERS)
        return sorted(decisions.kept), sorted(decisions.removed), decisions.relabelled

    return read


EXPECTED = [3], [7, 11], {0: "dög", 5: "=1+1", 9: "1.0"}


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_the_page_computes_the_same_checks():
    script = SCRIPT.read_text(encoding="utf-8")
    found = re.search(r"const crc32 = .*?(?=\n  const rows =)", script, re.DOTALL)
    asked = [
        (dict(zip(HEADER[:3], row, strict=True)), len(rows), "data-0+data-é", numeric)
        for rows, numeric in ((ROWS, False), (TARGETS, True))
        for row in [*rows, (1, "relabel", "1e300"), (2, "relabel", "-0.1")]
        if numeric or row in rows
    ]
    code = f"{found[0]}\nconsole.log(JSON.stringify({json.dumps(asked)}.map((a) => "
    run = subprocess.run(
        ["node", "-e", code + "check(...a))))"], capture_output=True, check=True
    )
    expected = [check_of(tuple(row.values()), *others) for row, *others in asked]
    assert json.loads(run.stdout) == expected


def test_checks_that_a_page_has_computed():
    rows = [(3, "relabel", 'Größe\n"x"'), (4, "keep", "")]
    assert check_of(rows[0], 3, "data-0", False) == "v1-3-ab342c2d"
    assert check_of(rows[1], 3, "data-0", False) == "v1-3-ccf652c7"
    assert check_of((5, "relabel", "-2.5"), 3, "data-0", True) == "v1-3-1a876b0a"


@pytest.mark.parametrize(
    "content",
    [
        as_csv(saved()),
        as_csv(saved(), separator=";", end="\n", start="", quote=True),
        as_csv(saved()[::-1], separator="\t", end="\r"),
        as_csv([(*row[::-1], "why") for row in saved()], (*HEADER[::-1], "remark")),
        as_csv([(f"{row[0]}.0", row[1].upper(), *row[2:]) for row in saved()]),
        as_csv(
            [(*r[:2], "'=1+1" if r[2] == "=1+1" else r[2], *r[3:]) for r in saved()]
        ),
        as_json(saved()),
        as_json(saved()[::-1]),
    ],
)
def test_what_spreadsheets_do_changes_nothing(read, content):
    assert read(content) == EXPECTED


def test_numbers_may_be_spelled_otherwise(read):
    rows = saved(NUMBERS, TARGETS)
    for label in ("-2.50", "-2.5", "-25e-1", "'-2.5"):
        written = [(*row[:2], row[2] and label, *row[3:]) for row in rows]
        assert read(as_csv(written), NUMBERS) == ([3], [7], {0: -2.5})
    written = [(*row[:2], row[2] and "-2.51", *row[3:]) for row in rows]
    with pytest.raises(DecisionsError, match="not those that were saved: sample 0"):
        read(as_csv(written), NUMBERS)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (saved()[1:], "there were 6 rows, and are 5"),
        ([(7, "keep", *saved()[0][2:]), *saved()[1:]], "sample 7 has another check"),
        ([(8, *saved()[0][1:]), *saved()[1:]], "sample 8 has another check"),
        ([*saved()[:-1], (*saved()[-1][:-1], "")], "the check of sample 11 is ''"),
        (
            [*saved(), (1, "keep", "", saved()[0][3], "")],
            "there were 6 rows, and are 7",
        ),
        (
            [*saved()[:4], (9, "relabel", "cat", *saved()[4][3:]), saved()[5]],
            "sample 9",
        ),
        ([(*row[:4], "v2-6-00000000") for row in saved()], "is 'v2-6-00000000'"),
    ],
)
@pytest.mark.parametrize("write", [as_csv, as_json])
def test_rows_that_are_missing_or_changed_are_named(read, rows, match, write):
    with pytest.raises(DecisionsError, match=rf"not those that were saved: .*{match}"):
        read(write(rows))


def test_without_the_column_decisions_may_be_changed(read):
    rows = [(7, "keep", "", saved()[0][3]), *[row[:4] for row in saved()[1:4]]]
    content = as_csv(rows, HEADER[:4])
    assert read(content) == ([3, 7], [], {0: "dög", 5: "=1+1"})


def test_a_file_that_is_cut_before_its_first_check(read):
    content = as_csv(saved())
    end = content.index(b"v1-")
    for cut in range(end - 40, end + 1):
        with pytest.raises(DecisionsError):
            read(content[:cut])


def test_a_table_is_taken_as_it_is():
    table = pd.DataFrame(saved(), columns=HEADER)
    assert len(read_decisions(table[table["decision"] == "remove"], X, Y)) == 2


@pytest.mark.parametrize(
    ("others", "match"),
    [
        ({"format": "other"}, "its format is 'other'"),
        ({"version": 3}, "from 1 to 2, got 3: if a newer"),
        ({"version": 0}, "from 1 to 2, got 0"),
        ({"version": float("nan")}, "got nan"),
        ({"version": "2"}, "got '2'"),
        ({"version": True}, "got True"),
    ],
)
def test_other_formats_and_versions_are_refused(read, others, match):
    with pytest.raises(DecisionsError, match=match):
        read(as_json(saved(), **others))


def test_files_of_the_first_version_are_read(read):
    content = json.loads(as_json(saved(), version=1))
    for decision in content["decisions"]:
        del decision["check"]
    assert read(json.dumps(content).encode()) == EXPECTED
    content["version"] = 2
    with pytest.raises(DecisionsError, match="the check of sample 7 is ''"):
        read(json.dumps(content).encode())
    assert read(as_csv([row[:4] for row in saved()], HEADER[:4])) == EXPECTED


@pytest.mark.parametrize("content", [as_csv(saved()), as_json(saved())])
def test_every_damage_is_named_or_harms_nothing(read, content):
    draw = np.random.default_rng(0)
    n_named = 0
    for _ in range(150):
        damaged = bytearray(content)
        if draw.random() < 0.3:
            del damaged[draw.integers(len(content)) :]
        else:
            damaged[draw.integers(len(content))] ^= 1 << draw.integers(8)
        try:
            assert read(bytes(damaged)) == EXPECTED
        except DecisionsError:
            n_named += 1
    # Capitals, signs in the byte order mark and the like harm nothing.
    assert n_named > 110


def test_a_column_that_stands_twice_is_refused(read):
    content = as_csv([(*row, row[0]) for row in saved()], (*HEADER, "sample"))
    with pytest.raises(DecisionsError, match="each column once, got sample"):
        read(content)


def test_a_file_that_is_too_large_is_refused(monkeypatch, read):
    monkeypatch.setattr("skinfluence.cleaning._decision_files._MOST_BYTES", 2**16)
    with pytest.raises(DecisionsError, match="at most 65,536 bytes"):
        read(bytes(2**16 + 1))


def test_json_without_end_is_refused(read):
    with pytest.raises(DecisionsError, match="cannot be read"):
        read(b"[" * 10**5)
