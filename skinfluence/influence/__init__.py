"""Backwards: the influence of the training samples on a query."""

from ._queries import Measure, Query, SampleQueries
from ._retrace import retrace

__all__ = ["Measure", "Query", "SampleQueries", "retrace"]
