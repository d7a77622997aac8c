"""CSV files whose cells may be long texts."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST = 2**27


@contextmanager
def long_fields() -> Iterator[None]:
    """Let cells be longer than the 131,072 characters that csv allows.

    The limit is one for the process, and others may rely on it.
    """
    before = csv.field_size_limit(_LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)
