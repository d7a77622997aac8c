"""Measures of validation data that a query can be, beside the loss."""

from .._names import set_public_module
from ._classes import auc, average_precision, brier, calibration, f1, log_loss
from ._groups import demographic_parity, equalized_odds, worst_group
from ._measures import Metric, SampleMeasure, whole
from ._measures import Takes as Takes
from ._named import NAMED as NAMED
from ._named import TOLD as TOLD
from ._numbers import quantile_loss, r2
from ._transition import CorrectedError as CorrectedError
from ._transition import corrected_error, estimate_transition
from ._transition import is_usable as is_usable
from ._transition import spread_of as spread_of

__all__ = [
    "Metric",
    "SampleMeasure",
    "auc",
    "average_precision",
    "brier",
    "calibration",
    "corrected_error",
    "demographic_parity",
    "equalized_odds",
    "estimate_transition",
    "f1",
    "log_loss",
    "quantile_loss",
    "r2",
    "whole",
    "worst_group",
]

set_public_module(globals(), "CorrectedError")
