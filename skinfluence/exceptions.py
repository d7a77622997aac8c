"""Errors and warnings of the library."""

__all__ = [
    "CompilationWarning",
    "DivergedTrainingError",
    "DivergenceWarning",
    "IndefiniteHessianError",
    "InfluenceReliabilityWarning",
    "IrreproducibleStepError",
    "NondeterminismWarning",
    "NotRecordedError",
    "SkinfluenceError",
    "SolverConvergenceWarning",
    "TrainingDataChangedError",
    "TrajectoryFileError",
    "UnsupportedCriterionError",
    "UnsupportedOptimizerError",
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
    """A file of a saved run is damaged or foreign, or its folder cannot be written."""


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


class CompilationWarning(UserWarning):
    """A step could not be compiled; it is computed without, more slowly."""


class SolverConvergenceWarning(UserWarning):
    """An iterative solver stopped before its residual was as small as asked."""
