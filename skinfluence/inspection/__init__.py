"""Displays in scikit-learn's convention, and the audit report."""

from .._names import set_public_module
from ._agreement import AgreementDisplay
from ._cleaning_curve import CleaningCurveDisplay
from ._explanation import ExplanationDisplay
from ._influence import InfluenceDisplay
from ._report import AuditReport
from ._sample_grid import SampleGridDisplay
from ._scorer_comparison import ScorerComparisonDisplay
from ._trajectory import TrajectoryDisplay

__all__ = [
    "AgreementDisplay",
    "AuditReport",
    "CleaningCurveDisplay",
    "ExplanationDisplay",
    "InfluenceDisplay",
    "SampleGridDisplay",
    "ScorerComparisonDisplay",
    "TrajectoryDisplay",
]

set_public_module(globals())
