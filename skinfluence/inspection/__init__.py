"""Looking at it: displays in scikit-learn's convention."""

from ._agreement import AgreementDisplay
from ._cleaning_curve import CleaningCurveDisplay

__all__ = ["AgreementDisplay", "CleaningCurveDisplay"]
