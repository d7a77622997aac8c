"""The program around the commands: arguments, exit codes, what goes where."""

import subprocess
import sys
import warnings

import pytest
import torch

from skinfluence import __version__
from skinfluence.commands import _audit, _main, main
from skinfluence.commands._outcome import Outcome
from skinfluence.exceptions import InfluenceReliabilityWarning, TableError
from tests.commands.tables import write


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def run(monkeypatch, work, *options):
    """Run the command `audit` with something else to do."""
    monkeypatch.setattr(_main, "audit", work)
    arguments = ["audit", "t.csv", "--target", "y", "--report", "r.html"]
    return main([*arguments, *options])


def failing(error):
    def work(options):
        yield "so far"
        raise error

    return work


def test_help_of_the_module():
    command = [sys.executable, "-m", "skinfluence", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "audit" in done.stdout
    assert "clean" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["audit", "clean"])
def test_help_of_the_commands(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert "--target" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["audit", "t.csv", "--target", "y"],
        ["audit", "t.csv", "--target", "y", "--report", "r.html", "--n", "0"],
        ["audit", "t.csv", "--target", "y", "--report", "r.html", "--seed", "-1"],
        ["audit", "t.csv", "--target", "y", "--report", "r.html", "--column", "a"],
        ["audit", "t.csv", "--target", "y", "--report", "r.html", "--column", "a=b"],
        ["clean", "t.csv", "--target", "y", "--output", "c.csv"],
        ["clean", "t.csv", "--target", "y", "--output", "c.csv", "--n-remove", "1.5"],
        ["clean", "t.csv", "--target", "y", "--output", "c.csv", "--n-remove", "5%"],
        ["clean", "t.csv", "--target", "y", "--output", "c.csv", "--n-remove", "4",
         "--n-rounds", "0"],
        ["clean", "t.csv", "--target", "y", "--output", "c.csv", "--n-remove", "1",
         "--decisions", "d.csv"],
    ],
)  # fmt: skip
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: skinfluence" in capsys.readouterr().err


def test_bad_input_is_one_sentence(monkeypatch, capsys):
    assert run(monkeypatch, failing(TableError("It is bad."))) == 2
    said = capsys.readouterr()
    assert said.out == "so far\n"
    assert said.err == "skinfluence: error: It is bad.\n"


def test_unexpected_error(monkeypatch, capsys):
    assert run(monkeypatch, failing(KeyError("lost"))) == 1
    error = capsys.readouterr().err
    assert error.startswith("skinfluence: error: unexpected KeyError: 'lost'")
    assert len(error.splitlines()) == 1


def test_quiet_says_only_what_came_of_it(monkeypatch, capsys):
    def work(options):
        yield "read"
        return Outcome(lambda: None, ["done"])

    assert run(monkeypatch, failing(TableError("It is bad.")), "--quiet") == 2
    assert capsys.readouterr() == ("", "skinfluence: error: It is bad.\n")
    assert run(monkeypatch, work, "--quiet") == 0
    assert capsys.readouterr() == ("done\n", "")


@pytest.mark.parametrize("error", [TableError("It is bad."), KeyError("lost")])
def test_debug_shows_the_traceback(monkeypatch, capsys, error):
    assert run(monkeypatch, failing(error), "--debug") in (1, 2)
    assert "Traceback" in capsys.readouterr().err


def test_interruption(monkeypatch, capsys):
    assert run(monkeypatch, failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "skinfluence: interrupted\n"


def test_own_warnings_are_notes_and_others_are_not_shown(monkeypatch, capsys):
    def work(options):
        for _ in range(2):
            warnings.warn("It is rough.", InfluenceReliabilityWarning, stacklevel=1)
        warnings.warn("inner matters", UserWarning, stacklevel=1)
        yield "done"
        return Outcome(lambda: None, ["told"])

    before = warnings.showwarning
    assert run(monkeypatch, work) == 0
    said = capsys.readouterr()
    assert said.err == "skinfluence: note: It is rough.\n"
    assert said.out == "done\ntold\n"
    assert warnings.showwarning is before


@pytest.mark.parametrize(
    ("environment", "options", "threads"),
    [(None, [], 1), ("2", [], 3), (None, ["--threads", "2"], 2)],
)
def test_threads(monkeypatch, environment, options, threads):
    seen = []

    def work(options):
        seen.append(torch.get_num_threads())
        yield "done"
        return Outcome(lambda: None, [])

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if environment is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", environment)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        monkeypatch.setattr(_audit, "audit", work)
        arguments = ["audit", "t.csv", "--target", "y", "--report", "r.html"]
        assert main([*arguments, "--force", *options]) == 0
        assert seen == [threads]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_progress_is_shown_to_terminals_only(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    path = write(tmp_path)
    arguments = ["clean", str(path), "--target", "stays", "--n-remove", "0"]
    options = ["--epochs", "1", "--force", "--output", str(tmp_path / "c.csv")]
    assert main([*arguments, *options]) == 0
    assert "Training" in capsys.readouterr().err
    assert main([*arguments, *options, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert main([*arguments, *options]) == 0
    assert capsys.readouterr().err == ""
