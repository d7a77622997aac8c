"""Backwards: the influence of the training samples on a query."""

from ._additions import Additions, spans
from ._bound import Curvature, ErrorBound
from ._by_target import TargetWeightStep
from ._forward import trace_forward
from ._inputs import InputStep
from ._label_smoothing import LabelSmoothingStep
from ._labels import LabelStep, TargetStep, as_labels, label_losses, toggled
from ._queries import Differentiable, Measure, Query, SampleQueries
from ._recipe import Recipe
from ._retrace import Retraced, retrace
from ._stages import Stage, retrace_stages
from ._whole import WholeQuery

__all__ = [
    "Additions",
    "Curvature",
    "Differentiable",
    "ErrorBound",
    "InputStep",
    "LabelSmoothingStep",
    "LabelStep",
    "Measure",
    "Query",
    "Recipe",
    "Retraced",
    "SampleQueries",
    "Stage",
    "TargetStep",
    "TargetWeightStep",
    "WholeQuery",
    "as_labels",
    "label_losses",
    "retrace",
    "retrace_stages",
    "spans",
    "toggled",
    "trace_forward",
]
