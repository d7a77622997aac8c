"""What is said, and that the file does not depend on saying it."""

import io
import os
import sys

import pytest

from skinfluence._outputs import new_output
from skinfluence.commands import _main, main
from skinfluence.commands._console import visible
from skinfluence.commands._outcome import Outcome
from skinfluence.commands._progress import EpochBar, epoch_bar
from tests.commands.processes import end, run, start
from tests.commands.tables import QUICK, customers, write

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks")
LINE = "Accuracy: +0.1 before, −0.2 ± 0.1 …"


@pytest.fixture
def short(monkeypatch, tmp_path):
    """Have the command `audit` say a line, write its file, and say another."""

    def work(options):
        yield LINE

        def put():
            with new_output(options.path) as file:
                file.write(b"done")

        return Outcome(put, [LINE])

    monkeypatch.setattr(_main, "audit", work)
    return ["audit", "t.csv", "--target", "y", "--report", tmp_path / "r.html"]


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", LINE),
        ("cp1252", "Accuracy: +0.1 before, -0.2 +/- 0.1 ..."),
        ("ascii", "Accuracy: +0.1 before, -0.2 +/- 0.1 ..."),
    ],
)
def test_encodings_without_a_sign_cost_nothing(short, tmp_path, encoding, expected):
    assert run(short, out=tmp_path / "out", encoding=encoding) == 0
    assert (tmp_path / "r.html").read_bytes() == b"done"
    said = (tmp_path / "out").read_text(encoding)
    assert said.splitlines() == [expected] * 2


def test_labels_in_another_encoding_are_spelled_out(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", out)
    _main.note("from 猫 to é")
    out.seek(0)
    assert out.read() == "skinfluence: from \\u732b to \\xe9\n"


def test_a_closed_pipe_costs_nothing(short, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    assert run(short, out=writer, err=tmp_path / "err") == 0
    os.close(writer)
    assert (tmp_path / "r.html").read_bytes() == b"done"
    assert (tmp_path / "err").read_bytes() == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
def test_a_full_standard_output_costs_nothing(short, tmp_path):
    assert run(short, out="/dev/full", err=tmp_path / "err") == 0
    assert (tmp_path / "r.html").read_bytes() == b"done"
    (line,) = (tmp_path / "err").read_text().splitlines()
    assert "the standard output cannot be written (No space left" in line
    (tmp_path / "r.html").unlink()
    assert run(short, out="/dev/full", err="/dev/full") == 0
    assert (tmp_path / "r.html").read_bytes() == b"done"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
def test_help_into_a_full_device_shows_no_traceback(tmp_path):
    assert run(["--help"], out="/dev/full", err=tmp_path / "err") == 0
    assert "Traceback" not in (tmp_path / "err").read_text()


def test_without_standard_streams(short, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main([str(argument) for argument in short]) == 0
    assert (tmp_path / "r.html").read_bytes() == b"done"


def test_the_file_may_go_to_the_standard_output(short, tmp_path):
    arguments = [*short[:-1], "/dev/stdout"]
    assert run(arguments, out=tmp_path / "out", err=tmp_path / "err") == 0
    assert (tmp_path / "out").read_bytes() == b"done"
    assert (tmp_path / "err").read_text().splitlines() == [LINE] * 2


def test_a_target_that_turns_bad_is_named(short, tmp_path):
    resource = pytest.importorskip("resource")
    arguments = [*short[:-1], "/dev/full"]
    assert run(arguments, err=tmp_path / "err") == 2
    (line,) = (tmp_path / "err").read_text().splitlines()
    assert "error: The file '/dev/full' cannot be written: No space left" in line

    def full():
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2, hard))

    # A pipe, since the limit holds for files.
    reader, writer = os.pipe()
    child = start(short, err=writer, before=full)
    os.close(writer)
    with open(reader) as said:
        assert "cannot be written: File too large" in said.read()
    assert end(child) == 2
    assert not (tmp_path / "r.html").exists()


def test_a_file_that_appeared_meanwhile_is_not_replaced(monkeypatch, short, tmp_path):
    def work(options):
        yield "working"
        options.path.write_bytes(b"of another")
        return Outcome(lambda: options.path.write_bytes(b"ours"), [])

    monkeypatch.setattr(_main, "audit", work)
    assert run(short, err=tmp_path / "err") == 2
    assert "pass --force" in (tmp_path / "err").read_text()
    assert (tmp_path / "r.html").read_bytes() == b"of another"


def test_control_characters_are_shown():
    assert visible("a\x1b[31mred\x07\x9b2J\r\nb\u202ec\ud800") == (
        r"a\x1b[31mred\x07\x9b2J\r\nb\u202ec\ud800"
    )
    assert visible("Größe −1 ± 2 …, 猫") == "Größe −1 ± 2 …, 猫"


def test_terminal_escapes_in_labels_are_not_sent(tmp_path, capsys):
    frame = customers()
    frame["stays"] = frame["stays"] + "\x1b[2J\x1b]0;title\x07"
    # The note that labels differ in capitals only prints them.
    frame.loc[::4, "stays"] = frame.loc[::4, "stays"].str.upper()
    frame = frame.rename(columns={"code": "co\x1b[1mde"})
    path = write(tmp_path, frame=frame)
    options = ["--n-remove", "2", "--force", "--output", str(tmp_path / "c.csv")]
    command = ["clean", str(path), *options, *QUICK, "--target"]
    assert main([*command, "stays"]) == 0
    assert main([*command, "co\x1b[1md"]) == 2
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "\x07" not in said.out + said.err
    assert r"\x1b[2J" in said.out
    assert r"\x1b[1m" in said.err
    assert b"\x1b[2J" in (tmp_path / "c.csv").read_bytes()


def test_without_a_standard_error_there_is_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with epoch_bar(3, quiet=False) as progress:
        progress.stage("Training")
        EpochBar(progress).on_epoch_end(None)
    assert progress.bar.disable
