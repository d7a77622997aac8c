"""Backwards: the influence of the training samples on a query."""

from ._bound import Curvature, ErrorBound
from ._labels import LabelStep, TargetStep
from ._queries import Asked, Measure, Query, SampleQueries
from ._retrace import Retraced, retrace
from ._stages import Stage, retrace_stages

__all__ = [
    "Asked",
    "Curvature",
    "ErrorBound",
    "LabelStep",
    "Measure",
    "Query",
    "Retraced",
    "SampleQueries",
    "Stage",
    "TargetStep",
    "retrace",
    "retrace_stages",
]
