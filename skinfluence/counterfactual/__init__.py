"""Forwards again: the recorded run under other weights on its samples."""

from ._ensemble import Ensemble, Way
from ._stack import StackedStep
from ._stages import StagedEnsemble

__all__ = ["Ensemble", "StackedStep", "StagedEnsemble", "Way"]
