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
    """Base of the library's own errors; a :class:`ValueError`.

    Examples
    --------
    >>> from skinfluence.exceptions import NotRecordedError, SkinfluenceError
    >>> issubclass(NotRecordedError, SkinfluenceError)
    True
    """


class NotRecordedError(SkinfluenceError):
    """The trajectory holds too little for what was asked.

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


class TrainingDataChangedError(SkinfluenceError):
    """The training data is no longer what the estimator was fitted on.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
    >>> X[0] = 0  # the estimator holds the array itself, no copy of it
    >>> clf.influence(X[1:], y[1:])
    Traceback (most recent call last):
    ...
    skinfluence.exceptions.TrainingDataChangedError: The training data must be as it ...
    """


class TrajectoryFileError(SkinfluenceError):
    """A saved file is damaged or foreign, or its folder cannot be written.

    Examples
    --------
    >>> from skinfluence import load_estimator
    >>> load_estimator("nowhere")
    Traceback (most recent call last):
    ...
    skinfluence.exceptions.TrajectoryFileError: The file ... cannot be used: it is ...
    """


class DecisionsError(SkinfluenceError):
    """Decisions about samples cannot be read, or are not about this data.

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


class UntrustedTypeError(SkinfluenceError):
    """A saved estimator needs classes or functions that were not trusted.

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
    """A table, or what is to be done with it on the command line, cannot be used.

    The command line tells it in a sentence, and ends with the exit code 2.

    Examples
    --------
    >>> from skinfluence.commands import main
    >>> main(["audit", "no.csv", "--target", "y", "--report", "report.html"])
    2
    """


class IrreproducibleStepError(SkinfluenceError):
    """A recorded step does not lead from its state to the next one.

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
    ...         self.n_calls += 1  # a number that no step records
    ...         return super().forward(X) / self.n_calls
    >>> clf = SGDInfluenceClassifier(
    ...     Drifting, module__in_features=4, module__out_features=3, random_state=0
    ... ).fit(X, y)
    >>> clf.influence(X, y)
    Traceback (most recent call last):
    ...
    skinfluence.exceptions.IrreproducibleStepError: Repeating step 59 from its ...
    """


class DivergedTrainingError(SkinfluenceError):
    """The training run, or the retrace, left the finite numbers.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> import warnings
    >>> clf = SGDInfluenceClassifier(lr=1e300, random_state=0)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # fit warns of it
    ...     clf = clf.fit(X, y)
    >>> clf.influence(X, y)
    Traceback (most recent call last):
    ...
    skinfluence.exceptions.DivergedTrainingError: The training run must stay finite, ...
    """


class IndefiniteHessianError(SkinfluenceError):
    """The Hessian of the training objective is not positive definite as damped.

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
    """Small changes grow so much in the run that its derivative may foretell little.

    Examples
    --------
    Where a doubtful estimate is of no use, the warning can be made an error.

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
    """Repeated steps led to other rounding errors than the recorded ones.

    Examples
    --------
    On a GPU it is to be expected, and can be silenced.

    >>> import warnings
    >>> from skinfluence.exceptions import NondeterminismWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", NondeterminismWarning)
    """


class ResumeWarning(UserWarning):
    """A run that was broken off cannot be gone on with; a new one begins.

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
    ...     _ = clf.set_params(callbacks=None, lr=0.5)  # another run than that
    ...     with warnings.catch_warnings(record=True) as caught:
    ...         warnings.simplefilter("always")
    ...         _ = clf.fit(X, y, resume=True)
    >>> [warning.category.__name__ for warning in caught]
    ['ResumeWarning']
    """


class CompilationWarning(UserWarning):
    """A step could not be compiled; it is computed without, more slowly.

    Examples
    --------
    Where speed is the point, the warning can be made an error.

    >>> import warnings
    >>> from skinfluence.exceptions import CompilationWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", CompilationWarning)
    """


class SolverConvergenceWarning(UserWarning):
    """An iterative solver stopped before its residual was as small as asked.

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
