"""Backwards: the influence of the training samples on a query."""

from ._bound import Curvature, ErrorBound
from ._queries import Measure, Query, SampleQueries
from ._retrace import Retraced, retrace

__all__ = [
    "Curvature",
    "ErrorBound",
    "Measure",
    "Query",
    "Retraced",
    "SampleQueries",
    "retrace",
]
