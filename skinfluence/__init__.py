"""Find and remove the training samples that harm a model trained with SGD."""

from ._version import __version__
from .cleaning import InfluenceCleaner, InfluenceCleanerCV
from .estimators import (
    SGDInfluenceClassifier,
    SGDInfluenceRegressor,
    influence_interval,
    influence_over_runs,
    load_estimator,
)
from .trajectory import Trajectory

__all__ = [
    "InfluenceCleaner",
    "InfluenceCleanerCV",
    "SGDInfluenceClassifier",
    "SGDInfluenceRegressor",
    "Trajectory",
    "__version__",
    "influence_interval",
    "influence_over_runs",
    "load_estimator",
]
