"""Errors and warnings of the library."""

from typing import Any

__all__ = [
    "CacheWarning",
    "CompilationWarning",
    "DecisionsError",
    "DivergedTrainingError",
    "DivergenceWarning",
    "EmptiedClassError",
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
    "UnsupportedModuleError",
    "UnsupportedOptimizerError",
    "UntrustedTypeError",
]


class SkinfluenceError(ValueError):
    """Base of the library's own errors; a :class:`ValueError`.

    Examples
    --------
    >>> from skinfluence.exceptions import NotRecordedError, SkinfluenceError
    >>> issubclass(NotRecordedError, SkinfluenceError)
    True
    """


class NotRecordedError(SkinfluenceError):
    """The run was not recorded, or not in the detail that is needed.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SGDInfluenceClassifier(record=None, random_state=0).fit(X, y)
    >>> clf.influence(X, y)
    Traceback (most recent call last):
    ...
    skinfluence.exceptions.NotRecordedError: `record` must be 'all' or a number of ...
    """


class UnsupportedOptimizerError(SkinfluenceError):
    """The optimizer's step cannot be retraced.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> from torch.optim import LBFGS
    >>> SGDInfluenceClassifier(optimizer=LBFGS).fit(X, y)
    Traceback (most recent call last):
    ...
    skinfluence.exceptions.UnsupportedOptimizerError: `optimizer` must be one whose ...
    """


class UnsupportedCriterionError(SkinfluenceError):
    """The criterion does not give one loss for each sample.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> from torch import nn
    >>> class Total(nn.CrossEntropyLoss):
    ...     def forward(self, outputs, targets):
    ...         return super().forward(outputs, targets).sum()
    >>> SGDInfluenceClassifier(criterion=Total).fit(X, y)
    Traceback (most recent call last):
    ...
    skinfluence.exceptions.UnsupportedCriterionError: `criterion` must give one loss ...
    """


class UnsupportedModuleError(SkinfluenceError):
    """A module or a loss cannot be repeated, or its gradient not be differentiated.

    Examples
    --------
    >>> from skinfluence.exceptions import SkinfluenceError, UnsupportedModuleError
    >>> issubclass(UnsupportedModuleError, SkinfluenceError)
    True
    """


class TrainingDataChangedError(SkinfluenceError):
    """The training data is no longer what the estimator was fitted on.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
    >>> X[0] = 0  # the estimator holds the array itself, not a copy
    >>> clf.influence(X[1:], y[1:])
    Traceback (most recent call last):
    ...
    skinfluence.exceptions.TrainingDataChangedError: The training data must be as it ...
    """


class TrajectoryFileError(SkinfluenceError):
    """A saved file is damaged or of another kind, or its folder is not writable.

    Examples
    --------
    >>> from skinfluence import load_estimator
    >>> load_estimator("nowhere")
    Traceback (most recent call last):
    ...
    skinfluence.exceptions.TrajectoryFileError: The file ... cannot be used: it is ...
    """


class DecisionsError(SkinfluenceError):
    """Decisions about samples cannot be read, or belong to other data.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import InfluenceCleaner
    >>> X, y = load_iris(return_X_y=True)
    >>> InfluenceCleaner(decisions="nothing.csv").fit(X, y)
    Traceback (most recent call last):
    ...
    skinfluence.exceptions.DecisionsError: The file of decisions ...
    """


class EmptiedClassError(SkinfluenceError):
    """A cleaning would leave no sample of a class.

    Parameters
    ----------
    message : str
        What was demanded, and what to do.
    labels : list
        The labels of those classes.

    Examples
    --------
    >>> from skinfluence.cleaning import InfluenceCleaner
    >>> from skinfluence.exceptions import EmptiedClassError
    >>> X, y = [[0.0]] * 8 + [[1.0]], [0] * 8 + [1]
    >>> cleaner = InfluenceCleaner(n_remove=8, cv=[(range(9), range(9))])
    >>> try:
    ...     cleaner.fit(X, y)
    ... except EmptiedClassError as error:
    ...     len(error.labels)
    1
    """

    def __init__(self, message: str, labels: list[Any]) -> None:
        super().__init__(message)
        self.labels = labels

    def __reduce__(self) -> tuple[type, tuple[str, list[Any]]]:
        # Other processes send it back by its arguments.
        return type(self), (str(self), self.labels)


class UntrustedTypeError(SkinfluenceError):
    """A saved estimator needs classes, functions or files that were not trusted.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from skinfluence import load_estimator
    >>> from skorch.callbacks import Callback
    >>> clf = SGDInfluenceClassifier(callbacks=[Callback()], random_state=0).fit(X, y)
    >>> with TemporaryDirectory() as folder:
    ...     clf.save(Path(folder) / "clf")
    ...     load_estimator(Path(folder) / "clf")
    Traceback (most recent call last):
    ...
    skinfluence.exceptions.UntrustedTypeError: `trusted` must name all classes and ...
    """


class TrajectoryInUseError(TrajectoryFileError):
    """Another run is being recorded in the folder.

    Examples
    --------
    >>> from skinfluence.exceptions import TrajectoryFileError, TrajectoryInUseError
    >>> issubclass(TrajectoryInUseError, TrajectoryFileError)
    True
    """


class TableError(SkinfluenceError):
    """A table, or an option for it on the command line, cannot be used.

    The command line prints the message and exits with code 2.

    Examples
    --------
    >>> from skinfluence.commands import main
    >>> main(["audit", "no.csv", "--target", "y", "--report", "report.html"])
    2
    """


class IrreproducibleStepError(SkinfluenceError):
    """Repeating a recorded step does not reproduce the state that followed it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> from torch import nn
    >>> class Drifting(nn.Linear):
    ...     n_calls = 0
    ...
    ...     def forward(self, X):
    ...         self.n_calls += 1  # state that no step records
    ...         return super().forward(X) / (2 if self.n_calls > 9 else 1)
    >>> clf = SGDInfluenceClassifier(
    ...     Drifting, module__in_features=4, module__out_features=3, random_state=0
    ... ).fit(X, y)
    >>> clf.influence(X, y)
    Traceback (most recent call last):
    ...
    skinfluence.exceptions.IrreproducibleStepError: Step 0 (epoch 1) gave a ...
    """


class DivergedTrainingError(SkinfluenceError):
    """The training run or the retrace overflowed (inf or NaN).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> import warnings
    >>> clf = SGDInfluenceClassifier(lr=1e300, random_state=0)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # fit warns, too
    ...     clf = clf.fit(X, y)
    >>> clf.influence(X, y)
    Traceback (most recent call last):
    ...
    skinfluence.exceptions.DivergedTrainingError: The training run must stay finite, ...
    """


class IndefiniteHessianError(SkinfluenceError):
    """The damped Hessian of the training objective is not positive definite.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> from skinfluence.scorers import KohLiang
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
    >>> KohLiang(damping=0.0)(clf, X, y, X, y)
    Traceback (most recent call last):
    ...
    skinfluence.exceptions.IndefiniteHessianError: `damping` must make the Hessian ...
    """


class DivergenceWarning(UserWarning):
    """The training run diverged: the loss or a parameter is NaN or infinite.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     clf = SGDInfluenceClassifier(lr=1e300, random_state=0).fit(X, y)
    >>> [warning.category.__name__ for warning in caught]
    ['DivergenceWarning']
    """


class InfluenceReliabilityWarning(UserWarning):
    """Small changes grow so much during the run that its derivative may mislead.

    Examples
    --------
    To reject doubtful estimates, turn the warning into an error.

    >>> import warnings
    >>> from sklearn.datasets import load_digits
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.exceptions import InfluenceReliabilityWarning
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X[:200] / 16, y[:200])
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", InfluenceReliabilityWarning)
    ...     scores = clf.influence(X[200:] / 16, y[200:])
    """


class NondeterminismWarning(UserWarning):
    """Repeated steps differ from the recorded ones by rounding errors.

    Examples
    --------
    On a GPU this is expected, and can be silenced.

    >>> import warnings
    >>> from skinfluence.exceptions import NondeterminismWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", NondeterminismWarning)
    """


class ResumeWarning(UserWarning):
    """An interrupted run cannot be resumed; a new one is started.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> import warnings
    >>> from contextlib import suppress
    >>> from tempfile import TemporaryDirectory
    >>> from skorch.callbacks import Callback
    >>> class Break(Callback):
    ...     def on_epoch_end(self, net, **kwargs):
    ...         raise RuntimeError
    >>> with TemporaryDirectory() as folder:
    ...     clf = SGDInfluenceClassifier(trajectory_dir=folder, random_state=0)
    ...     with suppress(RuntimeError):
    ...         clf.set_params(callbacks=[Break()]).fit(X, y)
    ...     _ = clf.set_params(callbacks=None, lr=0.5)  # a different run
    ...     with warnings.catch_warnings(record=True) as caught:
    ...         warnings.simplefilter("always")
    ...         _ = clf.fit(X, y, resume=True)
    >>> [warning.category.__name__ for warning in caught]
    ['ResumeWarning']
    """


class CompilationWarning(UserWarning):
    """A step could not be compiled; it runs uncompiled, more slowly.

    Examples
    --------
    Where speed matters, turn the warning into an error.

    >>> import warnings
    >>> from skinfluence.exceptions import CompilationWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", CompilationWarning)
    """


class CacheWarning(UserWarning):
    """Cached scores are damaged and computed again, or scores cannot be cached.

    The result is what it would be without a cache.

    Examples
    --------
    Where time matters, turn the warning into an error.

    >>> import warnings
    >>> from skinfluence.exceptions import CacheWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", CacheWarning)
    """


class SolverConvergenceWarning(UserWarning):
    """An iterative solver stopped before reaching the requested tolerance.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> import warnings
    >>> from skinfluence.scorers import KohLiang
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     scores = KohLiang(max_iter=1)(clf, X, y, X, y)
    >>> [warning.category.__name__ for warning in caught]
    ['SolverConvergenceWarning']
    """
