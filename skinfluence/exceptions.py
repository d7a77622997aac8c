"""Errors and warnings of the library."""

__all__ = [
    "CompilationWarning",
    "DecisionsError",
    "DivergedTrainingError",
    "DivergenceWarning",
    "IndefiniteHessianError",
    "InfluenceReliabilityWarning",
    "IrreproducibleStepError",
    "NondeterminismWarning",
    "NotRecordedError",
    "ResumeWarning",
    "SkinfluenceError",
    "SolverConvergenceWarning",
    "TableError",
    "TrainingDataChangedError",
    "TrajectoryFileError",
    "TrajectoryInUseError",
    "UnsupportedCriterionError",
    "UnsupportedOptimizerError",
    "UntrustedTypeError",
]


class SkinfluenceError(ValueError):
    """Base of the library's own errors; a :class:`ValueError`."""


class NotRecordedError(SkinfluenceError):
    """The trajectory holds too little for what was asked."""


class UnsupportedOptimizerError(SkinfluenceError):
    """The optimizer's step cannot be retraced."""


class UnsupportedCriterionError(SkinfluenceError):
    """The criterion does not give one loss for each sample."""


class TrainingDataChangedError(SkinfluenceError):
    """The training data is no longer what the estimator was fitted on."""


class TrajectoryFileError(SkinfluenceError):
    """A saved file is damaged or foreign, or its folder cannot be written."""


class DecisionsError(SkinfluenceError):
    """Decisions about samples cannot be read, or are not about this data."""


class UntrustedTypeError(SkinfluenceError):
    """A saved estimator needs classes or functions that were not trusted."""


class TrajectoryInUseError(TrajectoryFileError):
    """Another run is being recorded in the folder."""


class TableError(SkinfluenceError):
    """A table, or what is to be done with it on the command line, cannot be used."""


class IrreproducibleStepError(SkinfluenceError):
    """A recorded step does not lead from its state to the next one."""


class DivergedTrainingError(SkinfluenceError):
    """The training run, or the retrace, left the finite numbers."""


class IndefiniteHessianError(SkinfluenceError):
    """The Hessian of the training objective is not positive definite as damped."""


class DivergenceWarning(UserWarning):
    """The training run diverged: the loss or a parameter is NaN or infinite."""


class InfluenceReliabilityWarning(UserWarning):
    """Small changes grow so much in the run that its derivative may foretell little."""


class NondeterminismWarning(UserWarning):
    """Repeated steps led to other rounding errors than the recorded ones."""


class ResumeWarning(UserWarning):
    """A run that was broken off cannot be gone on with; a new one begins."""


class CompilationWarning(UserWarning):
    """A step could not be compiled; it is computed without, more slowly."""


class SolverConvergenceWarning(UserWarning):
    """An iterative solver stopped before its residual was as small as asked."""
