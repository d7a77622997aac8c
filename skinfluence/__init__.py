"""Find and remove the training samples that harm a model trained with SGD."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from ._progress import progress
    from .cleaning import InfluenceCleaner, InfluenceCleanerCV
    from .estimators import (
        SGDInfluenceClassifier,
        SGDInfluenceRegressor,
        influence_interval,
        influence_over_runs,
        load_estimator,
        save_estimator,
    )
    from .issues import find_issues
    from .recorder import Recorder
    from .trajectory import Trajectory

__all__ = [
    "InfluenceCleaner",
    "InfluenceCleanerCV",
    "Recorder",
    "SGDInfluenceClassifier",
    "SGDInfluenceRegressor",
    "Trajectory",
    "__version__",
    "find_issues",
    "influence_interval",
    "influence_over_runs",
    "load_estimator",
    "progress",
    "save_estimator",
]

_ROOMS = {
    "InfluenceCleaner": "cleaning",
    "InfluenceCleanerCV": "cleaning",
    "Recorder": "recorder",
    "SGDInfluenceClassifier": "estimators",
    "SGDInfluenceRegressor": "estimators",
    "Trajectory": "trajectory",
    "find_issues": "issues",
    "influence_interval": "estimators",
    "influence_over_runs": "estimators",
    "load_estimator": "estimators",
    "progress": "_progress",
    "save_estimator": "estimators",
}
_SUBMODULES = {
    *("cleaning", "commands", "counterfactual", "datasets", "estimators", "exceptions"),
    *("influence", "inspection", "issues", "metrics", "queries", "recorder", "scorers"),
    "training",
    "trajectory",
}


# torch takes seconds to import: names are imported when they are first used (PEP 562).
def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    if name in _ROOMS:
        found = getattr(import_module(f".{_ROOMS[name]}", __name__), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
