"""Displays in scikit-learn's convention, harmful slices, and the audit report."""

from .._names import set_public_module
from ._agreement import AgreementDisplay
from ._cleaning_curve import CleaningCurveDisplay
from ._influence import InfluenceDisplay
from ._report import AuditReport
from ._sample_grid import SampleGridDisplay
from ._scorer_comparison import ScorerComparisonDisplay
from ._slices import slice_influence
from ._trajectory import TrajectoryDisplay

__all__ = [
    "AgreementDisplay",
    "AuditReport",
    "CleaningCurveDisplay",
    "InfluenceDisplay",
    "SampleGridDisplay",
    "ScorerComparisonDisplay",
    "TrajectoryDisplay",
    "slice_influence",
]

set_public_module(globals())
