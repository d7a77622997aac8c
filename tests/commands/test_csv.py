"""CSV files: read as text, and copied byte for byte."""

import csv
import gzip
import io

import pytest

from skinfluence.commands._csv import CSVFile
from skinfluence.exceptions import TableError

# Leading zeros, trailing zeros, quotes with and without need, quotation marks and line
# ends in cells, missing values of several kinds, spaces, formulas, mixed line ends.
AWKWARD = (
    b'id,"name",amount,label\r\n'
    b"007,Ann,1.10,yes\r\n"
    b'008,"B ""the"" C",NA,no\n'
    b'009,"two\r\nlines, one cell",,"yes"\r\n'
    b"\r\n"
    b"010, spaced ,1e3,no\r\n"
    b'011,=cmd(),"1,5",yes'
)


def table(tmp_path, content, name="t.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    return CSVFile(path, encoding)


def copied(file, path, removed=(), labels=None):
    file.copy(path, set(removed), labels or {}, "label")
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def test_cells_are_those_of_the_csv_module(tmp_path):
    file = table(tmp_path, AWKWARD)
    frame, lines = file.read(None)
    expected = [
        row for row in csv.reader(io.StringIO(AWKWARD.decode(), newline="")) if row
    ]
    assert [file.columns, *frame.to_numpy().tolist()] == expected
    assert file.count() == len(frame) == 5
    # The third row takes two lines, and an empty one comes after it.
    assert lines.tolist() == [2, 3, 4, 7, 8]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_untouched_table_is_copied_byte_for_byte(tmp_path, name):
    file = table(tmp_path, AWKWARD, name)
    assert copied(file, tmp_path / f"out-{name}") == AWKWARD


def test_gzip_files_are_the_same_whenever_they_are_written(tmp_path):
    file = table(tmp_path, AWKWARD, "t.csv.gz")
    copied(file, tmp_path / "a.csv.gz")
    content = (tmp_path / "a.csv.gz").read_bytes()
    assert content[4:8] == bytes(4)  # the time in gzip's header


def test_removed_rows_are_missing_and_all_else_stays(tmp_path):
    file = table(tmp_path, AWKWARD)
    expected = AWKWARD.replace(b'009,"two\r\nlines, one cell",,"yes"\r\n', b"")
    expected = expected.replace(b"007,Ann,1.10,yes\r\n", b"")
    assert copied(file, tmp_path / "out.csv", [0, 2]) == expected


def test_new_label_changes_its_cell_only(tmp_path):
    file = table(tmp_path, AWKWARD)
    expected = AWKWARD.replace(b"1.10,yes", b"1.10,no")
    expected = expected.replace(b',,"yes"', b',,"a ""b"""')
    expected = expected.replace(b'"1,5",yes', b'"1,5","x,y"')
    labels = {0: "no", 2: 'a "b"', 4: "x,y"}
    assert copied(file, tmp_path / "out.csv", labels=labels) == expected


@pytest.mark.parametrize(
    ("cell", "value", "expected"),
    [
        ("3", 4.0, "4"),
        ("3,5", 4.25, "4,25"),
        ("3,5", 4.0, "4,0"),
        ("-3", -2.0, "-2"),
        ("1.234,50 €", 2345.5, "2.345,5 €"),
    ],
)
def test_numbers_are_written_as_in_the_table(tmp_path, cell, value, expected):
    file = table(tmp_path, f"a;label\n1;{cell}\n".encode())
    found = copied(file, tmp_path / "out.csv", labels={0: value})
    assert found == f"a;label\n1;{expected}\n".encode()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_encodings_and_byte_order_marks_stay(tmp_path, encoding):
    content = "größe,label\nä,yes\nö,no\n".encode(encoding)
    given = "utf-8" if encoding == "utf-8-sig" else encoding
    file = table(tmp_path, content, encoding=given)
    assert file.columns == ["größe", "label"]
    assert copied(file, tmp_path / "out.csv") == content


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_delimiter_is_the_most_frequent_of_the_header(tmp_path, mark):
    header = f'a{mark}"b, c; d"{mark}label\n'
    file = table(tmp_path, (header + f"1{mark}2{mark}yes\n").encode())
    assert file.columns == ["a", "b, c; d", "label"]


ASIDES = (
    b"sep=;\r\n# made by hand, on Monday\n\n"
    b'a;text;label\n1;x;yes\n# a remark; more\n#2;y;no\n3;"two\n# lines";yes\n'
)


def test_comments_and_the_line_that_names_the_delimiter_are_no_rows(tmp_path):
    file = table(tmp_path, ASIDES)
    frame, lines = file.read(None)
    assert file.columns == ["a", "text", "label"]
    assert frame["a"].tolist() == ["1", "#2", "3"]
    assert frame["text"].tolist() == ["x", "y", "two\n# lines"]
    assert lines.tolist() == [5, 7, 8]
    assert file.count() == 3


def test_comments_are_copied(tmp_path):
    file = table(tmp_path, ASIDES)
    expected = ASIDES.replace(b"#2;y;no\n", b"").replace(b"1;x;yes", b"1;x;no")
    assert copied(file, tmp_path / "out.csv", [1], {0: "no"}) == expected


def test_header_may_begin_with_the_mark_of_comments(tmp_path):
    file = table(tmp_path, b"## version 1\n#id,label\n1,yes\n")
    assert file.columns == ["#id", "label"]
    assert file.count() == 1


def test_encoding_of_excels_unicode_text_is_recognized(tmp_path):
    content = "größe\tlabel\r\nä\tyes\r\nö\tno\r\n".encode("utf-16")
    file = table(tmp_path, content)
    assert file.columns == ["größe", "label"]
    assert copied(file, tmp_path / "out.csv") == content


def test_column_without_a_name_gets_one(tmp_path):
    file = table(tmp_path, b",a,label\n0,1,yes\n")
    assert file.columns == ["column 1", "a", "label"]
    assert copied(file, tmp_path / "out.csv", [0]) == b",a,label\n"


def test_cells_may_be_long_texts(tmp_path):
    limit, long = csv.field_size_limit(), b"word " * 40_000
    content = b"text,label\n" + long + b",yes\nshort,no\n"
    assert len(long) > limit
    file = table(tmp_path, content)
    frame, _ = file.read(None)
    assert frame["text"].tolist() == [long.decode(), "short"]
    assert (
        copied(file, tmp_path / "out.csv", removed={1}) == content[: -len("short,no\n")]
    )
    assert csv.field_size_limit() == limit


def test_some_rows_are_read_alone(tmp_path):
    frame, lines = table(tmp_path, AWKWARD).read({1, 3})
    assert frame["id"].tolist() == ["008", "010"]
    assert lines.tolist() == [3, 7]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,label\n1,yes\n2\n", "Line 3 of 't.csv' has 1 cells, but the header has 2"),
        (b'a,label\n1,yes\n"2,no\n', "Line 3 of 't.csv' is not a row of a CSV file"),
        (b"a,label\n\xff,yes\n", "is not text in utf-8"),
    ],
)
def test_what_is_no_csv_is_refused(tmp_path, content, message):
    with pytest.raises(TableError, match=message):
        table(tmp_path, content).read(None)


def test_damaged_gzip_is_refused(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress((AWKWARD + b"\n") * 50)[:-9])
    with pytest.raises(TableError, match=r"t\.csv\.gz' cannot be read"):
        CSVFile(path).read(None)


def test_broken_copy_leaves_nothing(tmp_path):
    # Beyond what is read at once, so that it is found while the copy is written.
    file = table(tmp_path, AWKWARD + b"\n012,,,no" * 20_000 + b"\xff\n")
    output = tmp_path / "out.csv"
    output.write_bytes(b"what was there")
    with pytest.raises(TableError):
        file.copy(output, {0}, {}, "label")
    assert output.read_bytes() == b"what was there"
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", "out.csv"}


def test_table_may_be_written_over_itself(tmp_path):
    file = table(tmp_path, AWKWARD)
    expected = AWKWARD.replace(b"007,Ann,1.10,yes\r\n", b"")
    assert copied(file, file.path, [0]) == expected
