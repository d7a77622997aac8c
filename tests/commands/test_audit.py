"""From a table to a report, and from decisions to a cleaned table."""

import gzip
import html
import shlex

import numpy as np
import pandas as pd
import pytest

from skinfluence import InfluenceCleaner
from skinfluence.commands import main
from skinfluence.commands._audit import said_of_slices
from skinfluence.commands._columns import convert_to_slice, describe_columns
from skinfluence.commands._tables import read_table
from skinfluence.inspection import AuditReport
from tests.commands.tables import (
    FLIPPED,
    QUICK,
    customers,
    page_data,
    write,
    write_decisions,
)


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """Return the folder of a table that has been audited."""
    folder = tmp_path_factory.mktemp("audited")
    write(folder)
    arguments = ["audit", str(folder / "train.csv"), "--target", "stays"]
    report = ["--report", str(folder / "report.html"), "--n", "12"]
    assert main([*arguments, *report, *QUICK]) == 0
    return folder


def clean(folder, decisions, *options, output="clean.csv"):
    """Clean the audited table in another folder."""
    arguments = ["clean", str(folder / "train.csv"), "--target", "stays"]
    files = ["--decisions", str(decisions), "--output", str(output)]
    return main([*arguments, *files, *QUICK, *options])


@pytest.mark.slow
def test_wrong_labels_are_among_the_first(audited):
    suspects = page_data(audited / "report.html")["suspects"]
    assert 4 <= len(suspects) <= 12
    # Only those that do harm.
    assert all(suspect["score"] < 0 for suspect in suspects)
    found = [row for row in FLIPPED if row in [s["sample"] for s in suspects]]
    # By chance 12 of 80 rows hold three of four or more once in 90 times.
    assert len(found) >= 3


def test_report_says_how_it_came_about(audited):
    page = (audited / "report.html").read_text(encoding="utf-8")
    for fact in (
        "Audit of train.csv",
        "80 rows, 6 columns",
        "stays, classification (2 different labels)",
        "one-hot",
        "scored by the 4 models that trained on it",
        "trained without",
        "skinfluence audit",
    ):
        assert fact in page


@pytest.mark.slow
def test_report_and_standard_output_name_the_same_score(tmp_path, capsys):
    # The details' model is validated on none of the suspects: it seems better.
    frame = customers(seed=3)
    wrong = np.random.default_rng(0).choice(len(frame), 16, replace=False)
    frame.loc[wrong, "stays"] = frame.loc[wrong, "stays"].map(
        {"yes": "no", "no": "yes"}
    )
    train, report = write(tmp_path, frame=frame), tmp_path / "report.html"
    options = ["--target", "stays", "--report", str(report), "--quiet"]
    assert main(["audit", str(train), *options]) == 0
    out = capsys.readouterr().out
    (said,) = (line for line in out.splitlines() if line.startswith("Validation acc"))
    assert said in html.unescape(report.read_text("utf-8"))


def test_advises_by_options_where_nothing_is_learnt(tmp_path, capsys):
    frame = customers(seed=3)[["paid", "stays"]]  # which have nothing in common
    train, report = write(tmp_path, frame=frame), tmp_path / "report.html"
    options = ["--target", "stays", "--report", str(report), *QUICK]
    assert main(["audit", str(train), *options]) == 0
    out = capsys.readouterr().out
    assert "learnt nothing" in out
    assert "Try more --epochs" in out
    assert "Scale the inputs" not in out + report.read_text("utf-8")


def test_decisions_are_carried_out_on_the_very_rows(audited, tmp_path, capsys):
    data = page_data(audited / "report.html")
    decisions = write_decisions(
        tmp_path / "decisions.csv",
        data["fingerprint"],
        [(17, "relabel", "no"), (3, "remove", ""), (9, "keep", ""), (40, "remove", "")],
    )
    output = tmp_path / "clean.csv"
    assert clean(audited, decisions, output=output) == 0
    lines = (audited / "train.csv").read_bytes().splitlines(keepends=True)
    lines[18] = lines[18].replace(b"yes", b"no")
    expected = [line for k, line in enumerate(lines) if k not in (4, 41)]
    assert output.read_bytes() == b"".join(expected)
    said = capsys.readouterr().out
    assert "Removed: 2 rows (lines 5 and 42)." in said
    assert "Relabelled: 1 rows (line 19 from yes to no)." in said
    assert "Accuracy on held-out rows: 0." in said
    assert "  The same runs, repeated exactly with the same batches: 0." in said
    assert "78 rows written" in said


def test_decisions_hold_whatever_the_model_was(audited, tmp_path):
    data = page_data(audited / "report.html")
    decisions = write_decisions(
        tmp_path / "decisions.csv", data["fingerprint"], [(3, "remove", "")]
    )
    output = tmp_path / "clean.csv"
    options = ["--module", "linear", "--drop", "code"]
    assert clean(audited, decisions, *options, output=output) == 0
    assert len(pd.read_csv(output)) == 79


def test_decisions_about_another_table_are_refused(audited, tmp_path, capsys):
    data = page_data(audited / "report.html")
    decisions = write_decisions(
        tmp_path / "decisions.csv", data["fingerprint"], [(3, "remove", "")]
    )
    write(tmp_path, frame=customers().iloc[::-1])
    assert clean(tmp_path, decisions, output=tmp_path / "clean.csv") == 2
    error = capsys.readouterr().err
    assert "'decisions.csv' are about another table than 'train.csv'" in error
    assert not (tmp_path / "clean.csv").exists()


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        ((3, "relabel", "maybe"), "labels of y ('no', 'yes'), got 'maybe'"),
        ((300, "remove", ""), "from 0 to 79, got '300'"),
        ((3, "burn", ""), "got 'burn' for sample 3"),
    ],
)
def test_decisions_that_make_no_sense_are_refused(
    audited, tmp_path, capsys, decision, message
):
    data = page_data(audited / "report.html")
    path = write_decisions(tmp_path / "d.csv", data["fingerprint"], [decision])
    assert clean(audited, path, output=tmp_path / "clean.csv") == 2
    assert message in capsys.readouterr().err


def test_decisions_that_leave_one_label_are_refused(audited, tmp_path, capsys):
    data = page_data(audited / "report.html")
    stays = customers()["stays"]
    rows = [(row, "remove", "") for row in np.flatnonzero(stays == "yes")]
    path = write_decisions(tmp_path / "d.csv", data["fingerprint"], rows)
    assert clean(audited, path, output=tmp_path / "clean.csv") == 2
    assert "only 'no' would be left" in capsys.readouterr().err


def test_next_command_is_the_one_to_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    arguments = ["audit", "train.csv", "--target", "stays", "--sample", "60"]
    options = ["--seed", "3", "--report", "report.html", "--n", "5", "--drop", "code"]
    assert main([*arguments, *options, *QUICK]) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    data = page_data(tmp_path / "report.html")
    suspect = data["suspects"][0]["sample"]
    decisions = [(suspect, "remove", "")]
    write_decisions(tmp_path / "decisions.csv", data["fingerprint"], decisions)
    assert main([*command[1:], *QUICK]) == 0
    # The rows that were not drawn are still there, in their places.
    rows = (tmp_path / "train.csv").read_text().splitlines()
    left = (tmp_path / "clean.csv").read_text().splitlines()
    drawn = np.sort(np.random.RandomState(3).permutation(80)[:60])
    assert left == [line for k, line in enumerate(rows) if k != drawn[suspect] + 1]


@pytest.mark.slow
def test_trusted_rows_and_test_rows(tmp_path, capsys):
    trusted = write(tmp_path, "valid.csv", customers(40, seed=1))
    judged = write(tmp_path, "test.csv", customers(40, seed=2)[::-1])
    train = write(tmp_path)
    common = [str(train), "--target", "stays", "--valid", str(trusted)]
    common += ["--test", str(judged), *QUICK]
    report = tmp_path / "report.html"
    assert main(["audit", *common, "--report", str(report), "--n", "8"]) == 0
    assert "against the validation table" in capsys.readouterr().out
    data = page_data(report)
    assert len({s["sample"] for s in data["suspects"]} & set(FLIPPED)) >= 3
    # The report shows trusted rows as they stand in their table.
    shown = next(iter(data["validation"].values()))
    assert {"age", "plan"} <= {row[0] for row in shown["table"]}
    output = tmp_path / "clean.csv.gz"
    assert main(["clean", *common, "--n-remove", "3", "--output", str(output)]) == 0
    said = capsys.readouterr().out
    assert "Accuracy on the validation table: " in said
    assert "Accuracy on the test table: " in said
    with gzip.open(output, "rt") as file:
        assert len(file.readlines()) == 78


def test_n_remove_takes_what_the_cleaner_ranks_first(tmp_path):
    train, output = write(tmp_path), tmp_path / "clean.csv"
    arguments = ["clean", str(train), "--target", "stays", "--n-remove", "4"]
    assert main([*arguments, "--output", str(output), *QUICK]) == 0
    before, after = (path.read_text().splitlines() for path in (train, output))
    removed = {k for k, line in enumerate(before[1:]) if line not in after}
    assert len(removed) == 4
    assert len(removed & set(FLIPPED)) >= 2


@pytest.mark.slow
def test_rounds_go_on_from_the_rows_that_are_ranked_first(tmp_path):
    train = write(tmp_path)

    def removed(*how):
        output = tmp_path / "clean.csv"
        arguments = ["clean", str(train), "--target", "stays", "--n-remove", *how]
        assert main([*arguments, "--output", str(output), "--force", *QUICK]) == 0
        left = output.read_text().splitlines()
        return {line for line in train.read_text().splitlines() if line not in left}

    first, twice = removed("12"), removed("24", "--n-rounds", "2")
    assert first < twice
    assert len(twice) == 24
    # The later ones are ranked anew.
    assert twice != removed("24")


def test_fraction_is_one_of_the_rows(tmp_path, capsys):
    train, output = write(tmp_path), tmp_path / "clean.csv"
    arguments = ["clean", str(train), "--target", "stays", "--output", str(output)]
    assert main([*arguments, "--n-remove", "0.125", *QUICK]) == 0
    said = capsys.readouterr().out
    assert "Removed: 10 rows" in said
    assert "(--changes FILE lists them all.)" in said
    assert len(output.read_text().splitlines()) == 71


def test_all_changes_are_listed_and_can_be_repeated(tmp_path):
    train, output = write(tmp_path), tmp_path / "clean.csv"
    changes, again = tmp_path / "changes.csv", tmp_path / "again.csv"
    common = ["clean", str(train), "--target", "stays", *QUICK]
    how = ["--n-remove", "12", "--changes", str(changes)]
    assert main([*common, *how, "--output", str(output)]) == 0
    listed = pd.read_csv(changes)
    lines = train.read_text().splitlines()
    left = [text for k, text in enumerate(lines, 1) if k not in set(listed["line"])]
    assert output.read_text().splitlines() == left
    assert len(listed) == 12
    how = ["--decisions", str(changes), "--output", str(again)]
    assert main([*common, *how]) == 0
    assert again.read_bytes() == output.read_bytes()


def test_number_that_empties_a_class_is_refused(tmp_path, capsys):
    frame = customers()
    # All of the rarer label are wrong.
    frame["stays"] = np.where(frame.index % 20 == 3, "no", "yes")
    train, output = write(tmp_path, frame=frame), tmp_path / "clean.csv"
    arguments = ["clean", str(train), "--target", "stays", "--output", str(output)]
    assert main([*arguments, "--n-remove", "60", *QUICK]) == 2
    said = capsys.readouterr()
    assert "would remove all rows whose 'stays' is 'no'" in said.err
    assert len(said.err.splitlines()) == 1
    assert not output.exists()


@pytest.mark.slow
def test_auto_may_remove_nothing(tmp_path, capsys, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("nothing is to be ranked")

    frame = customers(seed=5)  # without wrong labels: nothing is better
    train, output = write(tmp_path, frame=frame), tmp_path / "clean.csv"
    monkeypatch.setattr(InfluenceCleaner, "fit_resample", refuse)
    arguments = ["clean", str(train), "--target", "stays", "--n-remove", "auto"]
    options = ["--output", str(output), "--quiet", "--epochs", "30"]
    assert main([*arguments, *options]) == 0
    assert output.read_bytes() == train.read_bytes()
    said = capsys.readouterr().out
    assert "of the best (1.0000 ± 0.0000) are 0." in said
    assert "Removed: nothing." in said


@pytest.mark.slow
def test_regression(tmp_path, capsys):
    rng = np.random.default_rng(0)
    size = rng.uniform(20, 200, 90)
    # In a unit in which the numbers are large, and one of them is wrong.
    price = 1000 * size + rng.normal(0, 5000, 90)
    price[11] = 900_000
    frame = pd.DataFrame({"size": size.round(1), "price": price.round()})
    train, report = write(tmp_path, frame=frame), tmp_path / "report.html"
    common = [str(train), "--target", "price"]
    options = ["--report", str(report), "--n", "3", *QUICK]
    assert main(["audit", *common, *options]) == 0
    assert "regression (9" in capsys.readouterr().out
    data = page_data(report)
    assert data["suspects"][0]["sample"] == 11
    assert data["suspects"][0]["given"] == 900_000
    # Predictions are prices too.
    assert 10_000 < data["suspects"][0]["predicted"] < 400_000
    decisions = [
        (10, "relabel", "96000"), (11, "relabel", "95000.5"), (12, "remove", ""),
    ]  # fmt: skip
    path = write_decisions(tmp_path / "d.csv", data["fingerprint"], decisions)
    output = tmp_path / "clean.csv"
    files = ["--decisions", str(path), "--output", str(output)]
    assert main(["clean", *common, *files, *QUICK]) == 0
    expected = train.read_text().replace("900000.0", "95000.5").splitlines()
    old = expected[11].split(",")[1]
    expected[11] = expected[11].replace(old, "96000.0")
    del expected[13]
    assert output.read_text().splitlines() == expected
    said = capsys.readouterr().out
    assert "R² on held-out rows" in said
    assert "repeated exactly with the same batches: " in said
    assert f"(line 12 from {old} to 96000 and line 13 from 900000.0 to 95000.5)" in said


def test_rows_without_a_target_are_left_out_and_copied(tmp_path, capsys):
    frame = customers()
    frame.loc[[4, 7], "stays"] = ["", "NA"]
    train, report = write(tmp_path, frame=frame), tmp_path / "report.html"
    common = [str(train), "--target", "stays", *QUICK]
    assert main(["audit", *common, "--report", str(report), "--n", "6"]) == 0
    said = capsys.readouterr().out
    assert "train.csv has 2 rows without stays, left out here" in said
    assert "80 rows, 6 columns" in said
    data = page_data(report)
    assert data["n_samples"] == 78
    # The sixth row that has a target is the seventh of the file.
    decisions = [(5, "relabel", "no"), (6, "remove", "")]
    path = write_decisions(tmp_path / "d.csv", data["fingerprint"], decisions)
    output = tmp_path / "clean.csv"
    files = ["--decisions", str(path), "--output", str(output)]
    assert main(["clean", *common, *files]) == 0
    expected = train.read_text().splitlines()
    expected[7] = expected[7].removesuffix("yes").removesuffix("no") + "no"
    del expected[9]
    assert output.read_text().splitlines() == expected
    assert "79 rows written" in capsys.readouterr().out


def test_words_that_are_names_of_columns(tmp_path):
    rng = np.random.default_rng(0)

    def text(*words):
        return [" ".join(rng.choice(words, 6)) for _ in range(60)]

    frame = pd.DataFrame(
        {
            "price": rng.normal(size=60).round(2),
            "review": text("the", "price", "was", "nice", "poor"),
            "answer": text("the", "price", "is", "numbers"),
            "a": rng.choice(["b_c", "d"], 60),
            "a_b": rng.choice(["c", "d"], 60),
            "y": rng.choice(["good", "bad"], 60),
        }
    )
    train, report = write(tmp_path, frame=frame), tmp_path / "report.html"
    arguments = ["audit", str(train), "--target", "y", "--report", str(report)]
    assert main([*arguments, "--n", "4", *QUICK]) == 0


@pytest.mark.slow
def test_kinds_of_columns_are_told_and_overruled(tmp_path, capsys):
    frame = customers().assign(when=[f"{k % 9 + 1}/2/2020" for k in range(80)])
    train, report = write(tmp_path, frame=frame), tmp_path / "report.html"
    arguments = ["audit", str(train), "--target", "stays", "--report", str(report)]
    kinds = ["--column", "when=day-first", "age=category"]
    assert main([*arguments, "--n", "4", *kinds, *QUICK]) == 0
    said = capsys.readouterr().out
    for line in (
        "  code   category  9 different, with leading zeros",
        "  age    category  as requested",
        "  since  date      YYYY-MM-DD",
        "  paid   number    0.",
        "  when   date      as requested",
        "--column when=day-first age=category",
    ):
        assert line in said
    assert main([*arguments, "--n", "4", "--force", *QUICK]) == 0
    assert "say --column when=day-first or when=month-first" in capsys.readouterr().out


def test_report_shows_half_of_the_rows_at_most(tmp_path):
    # What judges must be others than what is shown.
    frame = customers(24, seed=1).assign(stays=["a", "b"] * 11 + ["c", "a"])
    train, report = write(tmp_path, frame=frame), tmp_path / "report.html"
    arguments = ["audit", str(train), "--target", "stays", "--report", str(report)]
    assert main([*arguments, *QUICK]) == 0
    data = page_data(report)
    assert len(data["suspects"]) <= 12
    # Of the other rows, a fifth is held out.
    assert len(data["validation"]) <= 4


def test_labels_that_are_nearly_the_same_are_told(tmp_path, capsys):
    frame = customers()
    frame.loc[:9, "stays"] = " Yes"
    train, output = write(tmp_path, frame=frame), tmp_path / "c.csv"
    arguments = ["clean", str(train), "--target", "stays", "--n-remove", "0"]
    assert main([*arguments, "--output", str(output), *QUICK]) == 0
    said = capsys.readouterr().out
    assert (
        "Note: the labels ' Yes' and 'yes' differ in spaces, capitals or code only."
        in said
    )


def test_texts_alone_are_shown_as_texts(tmp_path):
    rng = np.random.default_rng(0)
    good = rng.random(60) < 0.5
    words = np.where(good, "a fine and lovely film", "a poor and boring film")
    frame = pd.DataFrame(
        {
            "review": [f"{text} number {k}" for k, text in enumerate(words)],
            "mood": np.where(good, "good", "bad"),
        }
    )
    frame.loc[:3, "mood"] = np.where(good[:4], "bad", "good")
    train, report = write(tmp_path, frame=frame), tmp_path / "report.html"
    arguments = ["audit", str(train), "--target", "mood", "--report", str(report)]
    assert main([*arguments, "--n", "4", *QUICK]) == 0
    suspect = page_data(report)["suspects"][0]
    parts = suspect["text"]
    assert "".join(text for text, _ in parts) == frame["review"][suspect["sample"]]
    # The words that speak for the label are marked.
    assert any(strength for _, strength in parts)


def test_the_page_speaks_to_users_of_the_command_line(audited):
    html = (audited / "report.html").read_text(encoding="utf-8")
    assert "skinfluence clean" in html
    assert "InfluenceCleaner(" not in html
    kinds = [row.split("</th><td>")[1].split("<")[0] for row in _columns_of(html)]
    assert {"number", "category"} <= set(kinds)


def _columns_of(html):
    return html.split('id="columns"')[1].split("</table>")[0].split("<tr>")[2:]


def visits(n=600, seed=0):
    """Return a table in which one clerk's labels are wrong, and the clerk's rows."""
    rng = np.random.default_rng(seed)
    stays = rng.random(n) < 0.5
    clerk = rng.choice(["ann", "bob", "cem", "dan", "eva", "fay", "gus", "hal"], n)
    wrong = clerk == "dan"
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 300, n), "D")
    frame = pd.DataFrame(
        {
            "age": np.where(stays, 60, 30) + rng.integers(-8, 8, n),
            "since": day.strftime("%Y-%m-%d"),
            "clerk": clerk,
            "stays": np.where(stays ^ wrong, "yes", "no"),
        }
    ).astype(str)
    frame.loc[::50, "clerk"] = "NA"
    return frame, np.flatnonzero(frame["clerk"] == "dan")


@pytest.mark.slow
def test_groups_of_rows_that_do_harm(tmp_path, capsys):
    frame, wrong = visits()
    path, report = write(tmp_path, frame=frame), tmp_path / "report.html"
    options = ["--target", "stays", "--report", str(report), "--slices", *QUICK]
    # The model does not know the clerk.
    assert main(["audit", str(path), *options, "--drop", "clerk"]) == 0
    said = f"A group of rows does harm: clerk = dan ({len(wrong)} rows)."
    assert said in capsys.readouterr().out
    page = report.read_text(encoding="utf-8")
    assert "<bdi>clerk = dan</bdi>" in page
    assert "Groups of rows" in page


def test_groups_are_looked_for_if_asked(audited):
    assert "Groups of rows" not in (audited / "report.html").read_text(encoding="utf-8")


def test_what_is_said_of_groups():
    lines = [{"slice": f"age = {k}", "n_rows": 1000 * k} for k in (7, 8, 9)]
    for slices, said in (
        (None, []),
        ({"lines": []}, ["No group of rows does more harm than chance explains."]),
        (
            {"lines": lines},
            ["A group of rows does harm: age = 7 (7,000 rows). The report has 2 more."],
        ),
    ):
        assert said_of_slices(AuditReport({"slices": slices})) == said


def test_columns_of_each_kind_become_groups(tmp_path):
    frame, _ = visits()
    frame["remark"] = [f"a remark of several words {k}" for k in range(len(frame))]
    table = read_table(write(tmp_path, frame=frame), encoding="utf-8")
    columns = describe_columns(table, ["age", "since", "clerk", "remark"])
    converted = convert_to_slice(table, columns)
    assert converted.columns.tolist() == ["age", "since", "clerk"]
    np.testing.assert_array_equal(converted["age"], frame["age"].astype(float))
    np.testing.assert_array_equal(converted["since"], pd.to_datetime(frame["since"]))
    assert converted["clerk"].isna().sum() == 12
    assert set(converted["clerk"].dropna()) == set(frame["clerk"]) - {"NA"}


def test_texts_alone_have_no_groups(tmp_path, capsys):
    frame = pd.DataFrame(
        {
            "text": [f"some words of number {k} or so" for k in range(60)],
            "y": ["a", "b"] * 30,
        }
    )
    path = write(tmp_path, frame=frame)
    options = ["--target", "y", "--report", str(tmp_path / "r.html"), "--slices"]
    assert main(["audit", str(path), *options]) == 2
    assert "--slices needs a column of numbers" in capsys.readouterr().err
