"""What a command says. Saying never fails: the file that it is about matters more."""

import os
import sys
from contextlib import suppress
from typing import TextIO

_SPELLED = str.maketrans({"−": "-", "±": "+/-", "…": "...", "²": "2", "×": "x"})


def visible(text: str) -> str:
    """Return a text on one line, whose control characters are shown and not sent.

    A terminal obeys those of a label as it would those of a program.
    """
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode()
        for sign in text
    )


def tell(line: str, out: TextIO | None) -> None:
    """Print a line on the standard output, or what stands for it."""
    error = _print(line, out)
    # Whoever closes a pipe has read enough.
    if error is not None and not isinstance(error, BrokenPipeError):
        note(f"note: the standard output cannot be written ({_reason(error)}).")


def note(line: str) -> None:
    """Print a line on the standard error."""
    _print(f"skinfluence: {line}", sys.stderr)


def flush() -> None:
    """Send what is left, which Python would do at its exit with a traceback."""
    for stream in (sys.stdout, sys.stderr):
        _print("", stream, end="")


def _print(line: str, stream: TextIO | None, end: str = "\n") -> Exception | None:
    """Print a line; return what prevented it, after which the stream is silent."""
    if stream is None:  # closed before Python started
        return None
    text = visible(line)
    try:
        try:
            print(text, end=end, file=stream, flush=True)
        except UnicodeEncodeError as error:
            text = _in_encoding(text, error.encoding)
            print(text, end=end, file=stream, flush=True)
    except (OSError, ValueError) as error:
        _silence(stream)
        return error
    return None


def _in_encoding(text: str, encoding: str) -> str:
    spelled = text.translate(_SPELLED)
    return spelled.encode(encoding, "backslashreplace").decode(encoding)


def _silence(stream: TextIO) -> None:
    """Lead a stream to nowhere, with what is still in its buffers."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    with suppress(OSError, ValueError):
        stream.flush()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
