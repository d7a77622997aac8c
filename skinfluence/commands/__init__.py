"""The command line: from a table to a report, and to a cleaned table."""

from ._main import main

__all__ = ["main"]
