"""Ctrl-C and SIGTERM: no file and an exit code that says so, or the whole file."""

import os
import random
import signal
import time
from contextlib import suppress

import pytest

from skinfluence._interrupts import Interrupted
from skinfluence.commands import _main, main
from skinfluence.commands._outcome import Outcome
from skinfluence.commands._stopping import Stopping
from skinfluence.exceptions import TableError
from tests.commands.processes import end, start
from tests.commands.tables import QUICK, write

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks and signals")
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(autouse=True)
def interruptible():
    """Have the handlers of a program in the foreground."""
    before = {
        number: signal.signal(
            number,
            signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL,
        )
        for number in CODES
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def arguments(folder):
    return ["audit", "t.csv", "--target", "y", "--report", str(folder / "r.html")]


@pytest.mark.parametrize("number", CODES)
def test_a_signal_during_the_work(monkeypatch, capsys, tmp_path, number):
    def work(options):
        yield "working"
        signal.raise_signal(number)
        raise AssertionError("not reached")

    monkeypatch.setattr(_main, "audit", work)
    assert main(arguments(tmp_path)) == CODES[number]
    assert capsys.readouterr().err == "skinfluence: interrupted\n"
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_python_drops_is_remembered(monkeypatch, tmp_path):
    def work(options):
        yield "working"
        with suppress(KeyboardInterrupt):  # as Python does in an object's `__del__`
            signal.raise_signal(signal.SIGINT)
        return Outcome(lambda: options.path.write_text("done"), [])

    monkeypatch.setattr(_main, "audit", work)
    assert main(arguments(tmp_path)) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [RuntimeError, TableError])
def test_a_signal_that_becomes_another_error_is_told_as_what_it_is(
    monkeypatch, capsys, tmp_path, kind
):
    def work(options):
        yield "working"
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise kind("turned into another error") from error

    monkeypatch.setattr(_main, "audit", work)
    assert main(arguments(tmp_path)) == 130
    assert capsys.readouterr().err == "skinfluence: interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_a_signal_after_the_file_is_there_is_too_late(monkeypatch, tmp_path):
    def work(options):
        yield "working"

        def put():
            options.path.write_text("done")
            signal.raise_signal(signal.SIGTERM)

        return Outcome(put, [])

    monkeypatch.setattr(_main, "audit", work)
    assert main(arguments(tmp_path)) == 0
    assert (tmp_path / "r.html").read_text() == "done"


def test_ignored_signals_and_handlers_of_the_caller_are_left_alone():
    seen = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *arguments: seen.append(arguments))
    with Stopping() as stopping:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        stopping.check()
    assert len(seen) == 1
    with pytest.raises(Interrupted), Stopping() as stopping:
        signal.raise_signal(signal.SIGINT)
    assert stopping.exit_code == 130


@pytest.mark.slow
def test_signals_at_random_moments(tmp_path):
    table = write(tmp_path)
    output = tmp_path / "c.csv"
    options = ["--n-remove", "3", "--output", output, *QUICK]
    command = ["clean", table, "--target", "stays", *options]
    began = time.monotonic()
    assert end(start(command)) == 0
    whole, seconds = output.read_bytes(), time.monotonic() - began
    draw = random.Random(0)
    for trial in range(8):
        output.unlink(missing_ok=True)
        child = start(command)
        time.sleep(draw.uniform(0, seconds))
        number = draw.choice(list(CODES))
        os.kill(child, number)
        # Before `main` begins, the signal ends the process itself.
        code = end(child)
        assert code in (0, CODES[number], -number), trial
        assert output.exists() == (code == 0)
        assert code != 0 or output.read_bytes() == whole
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == (["c.csv"] if code == 0 else []) + ["train.csv"]
