"""Backwards: the influence of the training samples on a query."""

from ._bound import Curvature, ErrorBound
from ._labels import LabelStep, TargetStep
from ._queries import Differentiable, Measure, Query, SampleQueries
from ._retrace import Retraced, retrace
from ._stages import Stage, retrace_stages

__all__ = [
    "Curvature",
    "Differentiable",
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
