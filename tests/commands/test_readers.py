"""The decisions of several readers on the command line."""

import pandas as pd
import pytest

from skinfluence.commands import main
from skinfluence.commands._csv import CSVFile
from tests.commands.tables import QUICK, customers, page_data, write, write_decisions

FIRST = [(3, "relabel", "no"), (17, "remove", ""), (5, "keep", "")]
SECOND = [(3, "remove", ""), (17, "remove", ""), (40, "remove", "")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a table and two files of decisions about it."""
    folder = tmp_path_factory.mktemp("readers")
    train, report = write(folder), folder / "report.html"
    arguments = ["audit", str(train), "--target", "stays", "--report", str(report)]
    assert main([*arguments, "--n", "3", *QUICK]) == 0
    fingerprint = page_data(report)["fingerprint"]
    write_decisions(folder / "ann.csv", fingerprint, FIRST)
    write_decisions(folder / "copy.csv", fingerprint, FIRST)
    write_decisions(folder / "bob.csv", fingerprint, SECOND)
    write_decisions(folder / "twice.csv", fingerprint, [FIRST[1], FIRST[1]])
    write_decisions(folder / "burn.csv", fingerprint, [(3, "burn", "")])
    others = "data-0123456789abcdef0123"
    write_decisions(folder / "others.csv", others, [(3, "remove", "")])
    (folder / "empty.csv").touch()
    (folder / "link.csv").symlink_to("ann.csv")
    return folder


def clean(folder, output, names, *options):
    files = [str(folder / name) for name in names]
    common = [str(folder / "train.csv"), "--target", "stays", *QUICK]
    decided = [word for file in files for word in ("--decisions", file)]
    return main(["clean", *common, *decided, "--output", str(output), *options])


def test_decisions_are_merged_and_the_agreement_is_told(folder, tmp_path, capsys):
    output, changes = tmp_path / "clean.csv", tmp_path / "changes.csv"
    options = ["--conflicts", "first", "--changes", str(changes)]
    assert clean(folder, output, ["ann.csv", "bob.csv"], *options) == 0
    frame = customers()
    frame.loc[3, "stays"] = "no"
    expected = frame.drop([17, 40]).reset_index(drop=True)
    pd.testing.assert_frame_equal(
        pd.read_csv(output, dtype=str, keep_default_na=False), expected
    )
    assert (
        "Readers 'ann.csv' and 'bob.csv': Both decided on 2 rows and agree on 1 (50 %; "
        "Cohen's kappa 0.00)."
    ) in capsys.readouterr().out
    table = pd.read_csv(changes, dtype=str, keep_default_na=False)
    assert table["line"].tolist() == ["5", "19", "42"]
    assert table["decision"].tolist() == ["relabel", "remove", "remove"]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["ann.csv", "bob.csv"], [], "'bob.csv' differs on 1 of 2 rows (line 5): let"),
        (["ann.csv", "bob.csv"], ["--conflicts", "refuse"], "let them settle it"),
        (["ann.csv", "ann.csv"], [], "a file of each reader, got "),
        (["ann.csv", "link.csv"], [], "a file of each reader, got "),
        (["ann.csv", "burn.csv"], [], "got 'burn' for sample 3"),
        (["ann.csv", "twice.csv"], [], "name each sample once, got sample 17 2 times"),
        (["ann.csv", "others.csv"], [], "'others.csv' are about another table"),
        (["ann.csv", "empty.csv"], [], "is empty"),
        (["ann.csv", "none.csv"], [], "No such file"),
        (["ann.csv"], ["--conflicts", "first"], "of two readers or more, got 1 files"),
        ([], ["--conflicts", "keep", "--n-remove", "1"], "got 0 files"),
        (["ann.csv"], ["--changes", "{}/clean.csv"], "than the output 'clean.csv'"),
        (["ann.csv"], ["--changes", "train.csv", "--force"], "than the table 'train"),
        (["ann.csv"], ["--changes", "ann.csv", "--force"], "than the decisions 'ann."),
        (["ann.csv"], ["--output", "ann.csv", "--force"], "than the decisions 'ann."),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_readers_that_do_not_go_together_are_refused(
    folder, tmp_path, capsys, monkeypatch, names, options, message
):
    output = tmp_path / "clean.csv"
    monkeypatch.chdir(folder)
    options = [option.format(tmp_path) for option in options]
    assert clean(folder, output, names, *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_copy_of_a_file_is_told(folder, tmp_path, capsys):
    assert clean(folder, tmp_path / "clean.csv", ["ann.csv", "copy.csv"]) == 0
    said = "agree on 3 (100 %; Cohen's kappa 1.00). The files are the same: are they"
    assert said in capsys.readouterr().out


def test_without_the_table_there_are_no_changes(folder, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(CSVFile, "copy", interrupted)
    changes = ["--changes", str(tmp_path / "changes.csv")]
    assert clean(folder, tmp_path / "clean.csv", ["ann.csv"], *changes) == 130
    assert not list(tmp_path.iterdir())
