"""Forwards again: the recorded run with other weights and targets of its samples."""

from ._ensemble import Ensemble, Way
from ._stack import StackedStep
from ._stages import StagedEnsemble
from ._targets import OtherTargets

__all__ = ["Ensemble", "OtherTargets", "StackedStep", "StagedEnsemble", "Way"]
