"""Faults of the data besides single harmful samples: copies, leakage, columns."""

from .._names import set_public_module
from ._columns import numbering as numbering
from ._find_issues import find_issues
from ._finding import KINDS
from ._finding import NAMED_KINDS as NAMED_KINDS
from ._finding import ROW_KINDS as ROW_KINDS
from ._table import row_digests as row_digests

__all__ = ["KINDS", "find_issues"]

set_public_module(globals())
