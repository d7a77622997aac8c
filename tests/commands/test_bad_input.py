"""What cannot be used is refused in one sentence, before any work."""

import gzip
import os

import pytest

from skinfluence.commands import _audit, _tables, main
from tests.commands.tables import customers, write


@pytest.fixture(autouse=True)
def no_work(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("no model may be made")

    monkeypatch.setattr(_audit, "make_model", refuse)


def refused(capsys, path, *options, target="stays", command="audit"):
    """Run the command, and return the one line that it says on the standard error."""
    out = ["--report", str(path.parent / "report.html")]
    code = main([command, str(path), "--target", target, *out, *options])
    captured = capsys.readouterr()
    assert code == 2
    lines = captured.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("skinfluence: error: ")
    assert lines[0].endswith((".", "?"))
    assert not (path.parent / "report.html").exists()
    return lines[0]


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("stay", "Did you mean 'stays'?"),
        ("STAYS", "Did you mean 'stays'?"),
        ("zzzz", "It has 'code', 'age', 'plan', 'since', 'paid' and 'stays'."),
    ],
)
def test_unknown_target(tmp_path, capsys, target, hint):
    message = refused(capsys, write(tmp_path), target=target)
    assert f"'train.csv' has no column {target!r}. {hint}" in message


def test_unknown_column_to_drop(tmp_path, capsys):
    message = refused(capsys, write(tmp_path), "--drop", "ages")
    assert "no column 'ages'. Did you mean 'age'?" in message


def test_target_to_drop(tmp_path, capsys):
    message = refused(capsys, write(tmp_path), "--drop", "stays")
    assert "The target 'stays' cannot be dropped" in message


@pytest.mark.parametrize("missing", ["", "NA", " ", "?"])
def test_no_label_at_all(tmp_path, capsys, missing):
    frame = customers().assign(stays=missing)
    message = refused(capsys, write(tmp_path, frame=frame))
    assert "The target 'stays' is empty in 'train.csv'." in message


def test_few_labels(tmp_path, capsys):
    frame = customers()
    frame.loc[19:, "stays"] = ""
    message = refused(capsys, write(tmp_path, frame=frame))
    assert "must have at least 20 rows with a target, got 19" in message


def test_kind_of_no_column(tmp_path, capsys):
    message = refused(capsys, write(tmp_path), "--column", "ages=number")
    assert "no column 'ages'. Did you mean 'age'?" in message


def test_kind_of_the_target(tmp_path, capsys):
    message = refused(capsys, write(tmp_path), "--column", "stays=category")
    assert "has no kind but its --task" in message


def test_one_class(tmp_path, capsys):
    message = refused(capsys, write(tmp_path, frame=customers().assign(stays="yes")))
    assert "'stays' is 'yes' in every row" in message


def test_one_number(tmp_path, capsys):
    frame = customers().assign(stays="3.5")
    assert "is 3.5 in every row" in refused(capsys, write(tmp_path, frame=frame))


def test_a_class_for_each_row(tmp_path, capsys):
    frame = customers().assign(stays=[f"name{k}" for k in range(80)])
    message = refused(capsys, write(tmp_path, frame=frame))
    assert "80 different labels in 80 rows of 'train.csv', too many" in message


def test_words_for_a_regression(tmp_path, capsys):
    message = refused(capsys, write(tmp_path), "--task", "regression")
    assert "must be numbers for a regression, but is not in lines 2, " in message


def test_numbers_for_a_classification_that_all_differ(tmp_path, capsys):
    frame = customers().assign(stays=[str(k) for k in range(80)])
    path = write(tmp_path, frame=frame)
    message = refused(capsys, path, "--task", "classification")
    assert "pass --task regression" in message


def test_few_rows(tmp_path, capsys):
    message = refused(capsys, write(tmp_path, frame=customers().head(9)))
    assert "must have at least 20 rows with a target, got 9" in message


def test_no_rows(tmp_path, capsys):
    message = refused(capsys, write(tmp_path, frame=customers().head(0)))
    assert "has a header, but no rows" in message


def test_no_column_of_use(tmp_path, capsys):
    frame = customers()[["stays"]].assign(empty="", same="x")
    message = refused(capsys, write(tmp_path, frame=frame))
    assert "'empty' is empty; 'same' has one value only" in message


def test_target_alone(tmp_path, capsys):
    message = refused(capsys, write(tmp_path, frame=customers()[["stays"]]))
    assert "'train.csv' has no column besides the target 'stays'" in message


def test_same_name_twice(tmp_path, capsys):
    path = write(tmp_path)
    path.write_text(path.read_text().replace("code,age", "age,age", 1))
    assert "different names, but 'age' appears" in refused(capsys, path)


def test_no_file(tmp_path, capsys):
    message = refused(capsys, tmp_path / "none.csv")
    assert "There is no file" in message
    assert "none.csv" in message


def test_names_that_no_file_can_have(tmp_path, capsys):
    table, long = write(tmp_path), 300 * "n"
    said = refused(capsys, tmp_path / f"{long}.csv")
    assert "cannot be read: File name too long" in said
    said = refused(capsys, table, "--report", str(tmp_path / f"{long}.html"))
    assert "cannot be written: File name too long" in said
    clean = ["clean", str(table), "--target", "stays", "--n-remove", "1"]
    assert main([*clean, "--output", str(tmp_path / f"{long}.csv")]) == 2
    assert "cannot be written: File name too long" in capsys.readouterr().err


def test_pipe(tmp_path, capsys):
    # One that nobody writes to would be waited for without end.
    os.mkfifo(tmp_path / "t.csv")
    assert "no pipe or device: save the table" in refused(capsys, tmp_path / "t.csv")


def test_folder(tmp_path, capsys):
    (tmp_path / "t.csv").mkdir()
    assert "is a folder" in refused(capsys, tmp_path / "t.csv")


def test_empty_file(tmp_path, capsys):
    (tmp_path / "t.csv").touch()
    assert "is empty" in refused(capsys, tmp_path / "t.csv")


def test_binary_file(tmp_path, capsys):
    (tmp_path / "t.csv").write_bytes(bytes(range(256)))
    assert "is not text in utf-8" in refused(capsys, tmp_path / "t.csv")


def test_other_format(tmp_path, capsys):
    (tmp_path / "t.json").touch()
    assert "must be CSV" in refused(capsys, tmp_path / "t.json")


def test_workbook(tmp_path, capsys):
    (tmp_path / "t.xlsx").touch()
    message = refused(capsys, tmp_path / "t.xlsx")
    assert "'t.xlsx' is a workbook: save the sheet as CSV" in message


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"PK\3\4", "an Excel workbook: save its sheet as CSV"),
        (b"PAR1", "a Parquet file"),
        (gzip.compress(b"a,b", mtime=0), "compressed: give it a name that ends in .gz"),
    ],
)
def test_other_format_under_the_name_of_a_text(tmp_path, capsys, start, what):
    (tmp_path / "t.csv").write_bytes(start)
    assert what in refused(capsys, tmp_path / "t.csv")


def test_no_header(tmp_path, capsys):
    path = write(tmp_path)
    path.write_text(path.read_text().split("\n", 1)[1])
    message = refused(capsys, path)
    assert "Its first line must name the columns, but it is '" in message


def test_no_delimiter(tmp_path, capsys):
    path = write(tmp_path)
    path.write_text(path.read_text().replace(",", " "))
    message = refused(capsys, path)
    assert "Its only column is 'code age plan since paid stays'" in message


def test_title_above_the_header(tmp_path, capsys):
    path = write(tmp_path)
    path.write_text("Customers of 2020\n\n" + path.read_text())
    message = refused(capsys, path, target="Customers of 2020")
    assert "delete the lines above the names" in message


def test_unknown_encoding(tmp_path, capsys):
    message = refused(capsys, write(tmp_path), "--encoding", "utf-9")
    assert "There is no encoding 'utf-9'" in message


def test_report_exists(tmp_path, capsys):
    report = tmp_path / "old.html"
    report.write_text("mine")
    message = refused(capsys, write(tmp_path), "--report", str(report))
    assert "pass --force to replace it" in message
    assert report.read_text() == "mine"


def test_report_in_no_folder(tmp_path, capsys):
    report = str(tmp_path / "no" / "r.html")
    assert "There is no folder" in refused(capsys, write(tmp_path), "--report", report)


def test_report_that_is_no_page(tmp_path, capsys):
    report = str(tmp_path / "r.pdf")
    message = refused(capsys, write(tmp_path), "--report", report)
    assert "must name a file that ends in .html, got 'r.pdf'" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="age"), "but it lacks 'age'."),
        (lambda f: f.assign(more="1"), "but it has 'more' as well."),
        (lambda f: f.rename(columns={"age": "Age"}), "lacks 'age' and has 'Age' as"),
    ],
)
def test_validation_table_of_other_columns(tmp_path, capsys, change, message):
    valid = write(tmp_path, "valid.csv", change(customers(30, seed=1)))
    found = refused(capsys, write(tmp_path), "--valid", str(valid))
    assert "'valid.csv' must have the columns of 'train.csv'" in found
    assert message in found


def test_validation_table_with_other_labels(tmp_path, capsys):
    frame = customers(30, seed=1)
    frame.loc[3, "stays"] = "perhaps"
    valid = write(tmp_path, "valid.csv", frame)
    message = refused(capsys, write(tmp_path), "--valid", str(valid))
    assert "'valid.csv' has labels in 'stays'" in message
    assert "'perhaps'" in message


def test_table_of_very_many_rows(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(_tables, "MOST_ROWS", 50)
    message = refused(capsys, write(tmp_path))
    assert "'train.csv' has 80 rows, but more than 50" in message
    assert "--sample 50" in message


def cleaned(path, *options):
    return main(["clean", str(path), "--target", "stays", *options])


def test_output_of_another_format(tmp_path, capsys):
    output = ["--n-remove", "3", "--output", str(tmp_path / "t.parquet")]
    assert cleaned(write(tmp_path), *output) == 2
    assert "must have the format of 'train.csv'" in capsys.readouterr().err


def test_output_exists(tmp_path, capsys):
    path = write(tmp_path)
    before = path.read_bytes()
    assert cleaned(path, "--n-remove", "3", "--output", str(path)) == 2
    assert "pass --force" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_all_rows_to_remove(tmp_path, capsys):
    output = ["--n-remove", "80", "--output", str(tmp_path / "c.csv")]
    assert cleaned(write(tmp_path), *output) == 2
    assert "--n-remove must be below the number of rows (80), got 80" in (
        capsys.readouterr().err
    )


def test_more_rows_to_remove_than_are_ranked(tmp_path, capsys):
    output = ["--n-remove", "0.8", "--output", str(tmp_path / "c.csv")]
    assert cleaned(write(tmp_path), *output) == 2
    assert "must be at most 75% of the rows (60) without --valid, got 64" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(("n_remove", "most"), [("4", 3), ("auto", 13)])
def test_more_rounds_than_rows_to_remove(tmp_path, capsys, n_remove, most):
    output = ["--n-remove", n_remove, "--output", str(tmp_path / "c.csv")]
    assert cleaned(write(tmp_path), *output, "--n-rounds", "14") == 2
    assert f"--n-rounds must be at most {most}, since" in capsys.readouterr().err


def test_rounds_of_decisions(tmp_path, capsys):
    how = ["--decisions", str(tmp_path / "d.csv"), "--n-rounds", "2"]
    assert cleaned(write(tmp_path), *how, "--output", str(tmp_path / "c.csv")) == 2
    assert "--n-rounds goes with --n-remove, got 2" in capsys.readouterr().err


def test_no_decisions(tmp_path, capsys):
    missing = ["--decisions", str(tmp_path / "none.csv")]
    output = ["--output", str(tmp_path / "c.csv")]
    assert cleaned(write(tmp_path), *missing, *output) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "none.csv" in error


def test_empty_decisions(tmp_path, capsys):
    (tmp_path / "d.csv").touch()
    output = [
        "--decisions",
        str(tmp_path / "d.csv"),
        "--output",
        str(tmp_path / "c.csv"),
    ]
    assert cleaned(write(tmp_path), *output) == 2
    assert "is empty" in capsys.readouterr().err
