"""Cleaners: rank the training samples, remove the most harmful, and refit."""

from .._names import set_public_module
from ._agreement import Agreement
from ._cleaner import InfluenceCleaner
from ._cleaner_cv import InfluenceCleanerCV
from ._compare import compare_scorers
from ._data import CleaningData as CleaningData
from ._data import Validation as Validation
from ._decisions import CONFLICTS as CONFLICTS
from ._decisions import Decisions, read_decisions
from ._decisions import not_run as not_run
from ._fingerprint import data_fingerprint
from ._reweighting import Reweight
from ._selection import rare_classes as rare_classes
from ._suggest import suggest

__all__ = [
    "Agreement",
    "Decisions",
    "InfluenceCleaner",
    "InfluenceCleanerCV",
    "Reweight",
    "compare_scorers",
    "data_fingerprint",
    "read_decisions",
    "suggest",
]

set_public_module(globals(), "CleaningData", "Validation")
