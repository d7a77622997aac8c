"""Cleaners: rank the training samples, remove the most harmful, and refit."""

from ._cleaner import InfluenceCleaner
from ._cleaner_cv import InfluenceCleanerCV
from ._compare import compare_scorers

__all__ = ["InfluenceCleaner", "InfluenceCleanerCV", "compare_scorers"]
