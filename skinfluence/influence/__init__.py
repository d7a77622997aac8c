"""Backwards: the influence of the training samples on a query."""

from ._additions import Additions, spans
from ._bound import Curvature, ErrorBound
from ._labels import LabelStep, TargetStep, label_losses
from ._queries import Differentiable, Measure, Query, SampleQueries
from ._retrace import Retraced, retrace
from ._stages import Stage, retrace_stages
from ._whole import WholeQuery

__all__ = [
    "Additions",
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
    "WholeQuery",
    "label_losses",
    "retrace",
    "retrace_stages",
    "spans",
]
