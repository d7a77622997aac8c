"""What a training run did: its recorded steps and states."""

from ._replay import backwards
from ._trajectory import StepRecord, Trajectory

__all__ = ["StepRecord", "Trajectory", "backwards"]
