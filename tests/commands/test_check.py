"""The gate: what it finds, when it fails, and what it writes."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinfluence.commands import main
from skinfluence.commands._check import TOO_MANY
from tests.commands.tables import QUICK, customers, write


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tables(tmp_path):
    """Write a table with two copies and a constant, and one with a row of it."""
    frame = customers(120).drop(columns="plan").assign(unit="cm")
    frame = pd.concat([frame, frame.iloc[[2, 9]]], ignore_index=True)
    write(tmp_path, frame=frame)
    valid = pd.concat([customers(40, 1).drop(columns="plan"), frame.iloc[[4]]])
    write(tmp_path, "valid.csv", valid.assign(unit="cm").reset_index(drop=True))
    return frame


def check(*options, quiet=True):
    arguments = ["check", "train.csv", "--target", "stays", *options]
    return main([*arguments, *QUICK, *(["--quiet"] if quiet else [])])


NO_MODEL = ["--only", "duplicates", "leakage", "constant", "giveaway"]


def test_nothing_fails_without_bounds(tables, capsys):
    assert check("--only", "duplicates", "constant") == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "fault       count  share  bound",
        "duplicates      2  1.6 %",
        "constant        1",
        "- 2 rows (1.6 %) repeat another (lines 122 and 123). Keep one of each, unless "
        "the repetition is meant.",
        "- 'unit' has the same value in every row. Drop it.",
    ]


@pytest.mark.parametrize(
    ("bounds", "failed"),
    [
        ("duplicates>1", ["duplicates"]),
        ("duplicates>2", []),
        ("duplicates>0.016", ["duplicates"]),
        ("duplicates>0.017", []),
        ("constant>0,duplicates>5", ["constant"]),
        ("leakage>0, constant>0", ["leakage", "constant"]),
        ("leakage > 0.03", []),
    ],
)
def test_a_bound_that_is_passed_fails(tables, capsys, bounds, failed):
    code = check("--valid", "valid.csv", "--fail-on", bounds, *NO_MODEL)
    assert code == (TOO_MANY if failed else 0)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (f"Failed: {', '.join(failed)}." if failed else "Passed.")


def test_the_file_for_machines(tables, tmp_path):
    options = ["--valid", "valid.csv", "--fail-on", "leakage>0", "--json", "found.json"]
    assert check(*options, *NO_MODEL) == TOO_MANY
    content = json.loads((tmp_path / "found.json").read_text())
    assert content["failed"] == ["leakage"]
    assert content["n_rows"] == 122
    issues = {issue["kind"]: issue for issue in content["issues"]}
    assert list(issues) == ["duplicates", "leakage", "constant"]
    assert issues["duplicates"]["places"] == [122, 123]
    assert issues["leakage"]["places"] == [6]
    assert issues["leakage"]["where"] == "line 6 of train.csv; line 42 of valid.csv"
    assert issues["constant"]["keys"] == ["unit"]
    # A second time it is refused, and the first file stays.
    assert check(*options, *NO_MODEL) == 2
    assert json.loads((tmp_path / "found.json").read_text()) == content


def test_only_what_is_new_fails(tables, tmp_path, capsys):
    assert check("--json", "old.json", *NO_MODEL[:2]) == 0
    options = ["--baseline", "old.json", "--fail-on", "duplicates>0", *NO_MODEL[:2]]
    assert check(*options) == 0
    # The lines have other numbers, and the columns another order: nothing is new.
    again = tables.iloc[::-1][tables.columns[::-1]]
    write(tmp_path, frame=again)
    assert check(*options) == 0
    # One more copy of a row that had one already.
    write(tmp_path, frame=pd.concat([again, tables.iloc[[2]]]))
    capsys.readouterr()
    assert check(*options) == TOO_MANY
    assert "duplicates      3  2.4 %    1    > 0  FAILED" in capsys.readouterr().out


def test_a_baseline_of_another_target_is_refused(tables, tmp_path, capsys):
    assert check("--json", "old.json", *NO_MODEL[:2]) == 0
    path = tmp_path / "old.json"
    path.write_text(path.read_text().replace('"target": "stays"', '"target": "age"'))
    assert check("--baseline", "old.json", *NO_MODEL[:2]) == 2
    assert "--baseline must be about the target 'stays'" in capsys.readouterr().err


def test_tables_written_in_different_ways_are_told(tables, tmp_path, capsys):
    other = tables[:20].assign(
        since=pd.to_datetime(tables["since"][:20]).dt.strftime("%d.%m.%Y"), unit="CM"
    )
    write(tmp_path, "valid.csv", other)
    arguments = ["check", "train.csv", "--target", "stays", "--valid", "valid.csv"]
    assert main([*arguments, "--only", "leakage"]) == 0
    said = capsys.readouterr().out
    assert "Note: 'since' of valid.csv is written in another way than in train" in said
    assert "Note: 'unit' of valid.csv is written in another way" in said
    assert "'age' of valid.csv" not in said


def test_wrong_labels_are_judged_by_models_that_did_not_see_them(tmp_path, capsys):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 4)).round(4)
    y = np.where(values[:, 0] > 0, "a", "b")
    wrong = np.flatnonzero(np.abs(values[:, 0]) > 1)[:20]
    y[wrong] = np.where(y[wrong] == "a", "b", "a")
    frame = pd.DataFrame(values, columns=list("wxyz")).assign(stays=y)
    # A column with the labels as they are written would excuse all of them.
    write(tmp_path, frame=frame.assign(told=np.where(y == "a", "yes", "no")))
    options = ["--only", "label_errors", "--json", "found.json"]
    arguments = ["check", "train.csv", "--target", "stays", *options]
    assert main([*arguments, "--fail-on", "label_errors>0.02"]) == TOO_MANY
    assert "judged without 'told'" in capsys.readouterr().out
    (issue,) = json.loads((tmp_path / "found.json").read_text())["issues"]
    found = np.array(issue["places"]) - 2
    assert np.isin(wrong, found).mean() >= 0.9
    assert np.isin(found, wrong).mean() >= 0.5
    # The least probable labels come first.
    assert np.isin(found[:10], wrong).all()


def test_where_every_column_tells_no_label_can_be_judged(tmp_path, capsys):
    y = np.random.default_rng(0).choice(["a", "b"], 60)
    frame = pd.DataFrame({"told": np.where(y == "a", 1, 2), "stays": y})
    write(tmp_path, frame=frame)
    assert check() == 2
    assert "Every column gives 'stays' away" in capsys.readouterr().err
    assert check("--only", "giveaway") == 0


def test_numbers_to_predict_have_no_label_errors(tmp_path, capsys):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(90, 3)).round(3), columns=["a", "b", "stays"])
    write(tmp_path, frame=pd.concat([frame, frame.iloc[:1]]))
    assert check("--fail-on", "label_errors>0") == 2
    assert "'label_errors' needs labels as the target" in capsys.readouterr().err
    assert check("--fail-on", "duplicates>0") == TOO_MANY


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fail-on", "dupes>0"], "got 'dupes'. Did you mean 'duplicates'?"),
        (["--fail-on", "leakage>0"], "'leakage' needs --valid or --test"),
        (["--fail-on", "constant>0.1"], "must have a whole number of columns, got 0.1"),
        (["--fail-on", "outliers>1,outliers>2"], "got 'outliers' twice"),
        (["--only", "leekage"], "Did you mean 'leakage'?"),
        (
            ["--only", "outliers", "--fail-on", "constant>0"],
            "--fail-on has 'constant', which --only leaves out",
        ),
        (["--baseline", "nothing.json"], "'nothing.json' cannot be read"),
        (["--baseline", "train.csv"], "--baseline must be a file written by"),
        (["--json", "nowhere/found.json"], "There is no folder"),
        (["--json", "valid.csv"], "exists: pass --force"),
        (["--json", "train.csv", "--force"], "--json must name another file than the"),
        (
            ["--valid", "valid.csv", "--json", "valid.csv", "--force"],
            "--json must name another file than the validation table",
        ),
    ],
    ids=lambda value: "-".join(value)[2:30] if isinstance(value, list) else "",
)
def test_bad_input(tables, tmp_path, capsys, options, said):
    before = sorted(tmp_path.iterdir())
    assert check(*options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "text", ["", "duplicates", "duplicates>", "duplicates>-1", "a>1.5", "a<1"]
)
def test_bounds_that_cannot_be_read(tables, capsys, text):
    with pytest.raises(SystemExit) as stopped:
        check("--fail-on", text)
    assert stopped.value.code == 2
    assert "'duplicates>0,label_errors>0.02'" in capsys.readouterr().err


THIS = '{"format": 1, "target": "stays", '


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"format": 1, "target": "stays"}',
        '{"format": 2, "issues": []}',
        THIS + '"issues": [{"kind": "duplicates", "keys": "abc"}]}',
        THIS + '"issues": [{"kind": ["x"], "keys": []}]}',
        "[" * 100_000,
        "\0\xff",
    ],
    ids=range(8),
)
def test_hostile_baselines(tables, tmp_path, capsys, content):
    (tmp_path / "old.json").write_text(content, encoding="latin-1")
    assert check("--baseline", "old.json") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--baseline must be a file written by `skinfluence check --json`" in line


def test_hostile_cells_are_data(tmp_path, capsys):
    names = ["<script>", "=1+1", "a\u202eb"]
    frame = customers(60).assign(note=np.resize(names, 60))
    frame = pd.concat([frame, frame.iloc[:1]])
    write(tmp_path, frame=frame.rename(columns={"note": "'; drop table"}))
    assert check("--only", "duplicates", "--json", "found.json") == 0
    content = json.loads((tmp_path / "found.json").read_text())
    assert content["issues"][0]["places"] == [62]


ROOT = Path(__file__).parents[2]


def test_the_hook_names_the_command():
    yaml = pytest.importorskip("yaml")
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, *arguments = shlex.split(hook["entry"])
    with (ROOT / "pyproject.toml").open("rb") as file:
        scripts = tomllib.load(file)["project"]["scripts"]
    assert scripts[program] == "skinfluence.commands:main"
    assert arguments == ["check"]
    assert hook["pass_filenames"] is False


def test_the_action_runs_the_command(tables, tmp_path):
    yaml = pytest.importorskip("yaml")
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    step = action["runs"]["steps"][-1]
    given = {
        "table": "train.csv",
        "target": "stays",
        "fail-on": "duplicates>0,leakage>5",
        "options": "--valid valid.csv --only duplicates leakage",
    }
    assert set(given) == set(action["inputs"])
    variables = {
        name: given[re.fullmatch(r"\$\{\{ inputs\.(\S+) \}\}", value)[1]]
        for name, value in step["env"].items()
    }
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(**changed):
        return subprocess.run(
            ["bash", "-c", step["run"]],
            env={**os.environ, **variables, "PATH": path, **changed},
            capture_output=True,
            text=True,
            check=False,
        )

    done = run()
    assert done.returncode == TOO_MANY, done.stderr
    assert done.stdout.endswith("Failed: duplicates.\n")
    # What a workflow passes is no code of the shell.
    done = run(OPTIONS="$(touch x)")
    assert done.returncode == 2
    assert "unrecognized arguments: $(touch x)" in done.stderr
    assert not (tmp_path / "x").exists()
