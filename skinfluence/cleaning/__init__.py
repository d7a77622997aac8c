"""Cleaners: rank the training samples, remove the most harmful, and refit."""

from ._cleaner import InfluenceCleaner
from ._cleaner_cv import InfluenceCleanerCV

__all__ = ["InfluenceCleaner", "InfluenceCleanerCV"]
