"""Backwards: the influence of the training samples on a query."""

from ._bound import Curvature, ErrorBound
from ._labels import LabelStep, TargetStep
from ._queries import Measure, Query, SampleQueries
from ._retrace import Retraced, retrace

__all__ = [
    "Curvature",
    "ErrorBound",
    "LabelStep",
    "Measure",
    "Query",
    "Retraced",
    "SampleQueries",
    "TargetStep",
    "retrace",
]
