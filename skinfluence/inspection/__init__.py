"""Displays in scikit-learn's convention, the audit report, cells and slices."""

from .._names import set_public_module
from ._agreement import AgreementDisplay
from ._cleaning_curve import CleaningCurveDisplay
from ._column_influence import ColumnInfluence, column_influence
from ._explanation import ExplanationDisplay
from ._influence import InfluenceDisplay
from ._recipe import RecipeDisplay
from ._report import AuditReport
from ._sample_grid import SampleGridDisplay
from ._scorer_comparison import ScorerComparisonDisplay
from ._slices import slice_influence
from ._token_influence import token_influence
from ._trajectory import TrajectoryDisplay

__all__ = [
    "AgreementDisplay",
    "AuditReport",
    "CleaningCurveDisplay",
    "ColumnInfluence",
    "ExplanationDisplay",
    "InfluenceDisplay",
    "RecipeDisplay",
    "SampleGridDisplay",
    "ScorerComparisonDisplay",
    "TrajectoryDisplay",
    "column_influence",
    "slice_influence",
    "token_influence",
]

set_public_module(globals())
