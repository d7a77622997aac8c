"""scikit-learn's estimator contract on top of skorch."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from skorch.utils import is_dataset, to_device
from torch import Tensor

from .._interrupts import Interrupted, told_apart
from .._numbers import random_generator
from .._progress import counting
from .._summary import SummarizedEstimator
from ..training import (
    all_seeded,
    derive_seed,
    differentiating,
    twice_differentiable,
)
from ..trajectory import Trajectory, close_run, on_threads, reopen_run
from ._frame import FrameMixin
from ._losses import movable
from ._net import net_modules
from ._parameters import check_parameters, check_resume
from ._recording.before_training import check_trainable
from ._recording.free_memory import in_progress
from ._recording.hooks import RecordingMixin
from ._recording.pretraining import check_pretrained, start_from_pretrained
from ._recording.resume import ResumedRun, run_in_folder
from ._recording.training_run import TrainingRun
from ._saving.save import save_estimator
from ._threads import n_threads_of
from ._training_data import TrainingData, number_after
from ._typing import Device
from ._validation import check_data, check_inputs, training_weights
from ._words import fit_in_words


class EstimatorContract(SummarizedEstimator, FrameMixin, RecordingMixin):
    """Validation, seeds and sample weights, as scikit-learn asks of an estimator."""

    def fit(
        self,
        X: object,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        resume: bool = False,
        **fit_params: Any,
    ) -> Self:
        """Train the model and record how.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), n-D array, \
                torch Dataset, or dict or list of arrays
            Training data; what is not 2-D needs a module of your own.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets; None where a Dataset holds them.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights; scaled to mean 1.
        resume : bool, default=False
            Whether to resume the newest run in `trajectory_dir` that was started with
            these parameters and this data, from its last state on disk, with the same
            bits as an uninterrupted run. Without such a run a new one starts.
        **fit_params : dict
            Passed to the module's ``forward`` and to ``train_split``, as in skorch.

        Returns
        -------
        self : object
            The fitted estimator.

        Warns
        -----
        ResumeWarning
            If a run was interrupted, but cannot be resumed.
        """
        # What is no truth value is refused with the other parameters.
        warm: object = self.warm_start
        warm = isinstance(warm, (bool, np.bool_)) and bool(warm)
        start = not (warm and self.initialized_)
        return self._fit(X, y, sample_weight, fit_params, start=start, resume=resume)

    def partial_fit(
        self,
        X: object,
        y: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        **fit_params: Any,
    ) -> Self:
        """Continue training from the present model for ``max_epochs`` epochs.

        The steps are added to the trajectory. Data that was trained on before keeps
        its rows; new data is numbered after it.

        Parameters
        ----------
        X : array-like, CSR matrix, torch Dataset, or dict or list of arrays
            Training data, as in :meth:`fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets; None where a Dataset holds them.
        classes : array-like of shape (n_classes,), optional
            All labels that will occur; those of the first `y` if not given.
            Ignored by a regressor.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights; scaled to mean 1.
        **fit_params : dict
            Passed to the module's ``forward`` and to ``train_split``, as in skorch.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        start = not self.initialized_
        return self._fit(X, y, sample_weight, fit_params, start=start, classes=classes)

    @differentiating
    def _fit(
        self,
        X: object,
        y: ArrayLike | None,
        sample_weight: ArrayLike | None,
        fit_params: dict[str, Any],
        *,
        start: bool,
        classes: ArrayLike | None = None,
        resume: bool = False,
    ) -> Self:
        check_resume(self, resume, start)
        check_parameters(self)
        if start and self.pretrained is not None:
            check_pretrained(self)
        self.__dict__.pop("compiled_functions_", None)
        with self._restored_on_error(start):
            # skorch lets a net be initialized by hand before it has seen any data.
            first = start or not hasattr(self, "training_data_")
            X, labels = check_data(self, X, y, reset=first)
            # A Dataset holds its own targets: y beside it is only for splitting.
            targets = self._encode_targets(
                None if is_dataset(X) else labels, reset=first, classes=classes
            )
            targets = labels if targets is None else targets
            by_class = self._class_weights(labels)
            weights = training_weights(X, sample_weight, by_class)
            if first:
                self._begin_record()
            data = self._numbered(X, targets, weights, fit_params)
            self._train(data, start=start, first=first, resume=resume)
        return self

    def _train(
        self, data: TrainingData, *, start: bool, first: bool, resume: bool
    ) -> None:
        """Train on numbered data; `first` is whether it begins the record."""
        self._open_run(data, new=first, resume=resume)
        kind = ResumedRun if resume else TrainingRun
        self.run_ = kind(
            data,
            len(self.training_data_),
            self.seed_,
            self.n_steps_,
            self.n_epochs_,
            self.trajectory_,
            self.accumulate_steps,
        )
        self.training_data_ = [*self.training_data_, data]
        if start:
            self._initialize()
        check_trainable(self, data)
        self.run_.n_threads = n_threads_of(self, data)
        with in_progress(), self._kernels(), on_threads(self.run_.n_threads):
            self.notify("on_train_begin", X=data.X, y=data.y)
            with self._counting_epochs() as self.run_.epoch_done:
                self._loop(data)
            self.notify("on_train_end", X=data.X, y=data.y)
        self.run_.end(self)

    def _counting_epochs(self) -> AbstractContextManager[Callable[..., Any]]:
        """Return the progress bar; none where skorch's table shows the epochs."""
        return counting("Training", 0 if self.verbose else self.max_epochs, "epoch")

    def on_epoch_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Move the progress bar."""
        super().on_epoch_end(net, *args, **kwargs)
        if self.run_ is not None:
            self.run_.epoch_done()

    def _loop(self, data: TrainingData) -> None:
        """Run skorch's training loop. Its own `partial_fit` ignores interrupts."""
        try:
            with told_apart():
                self._loop_of_skorch(data)
        except Interrupted:
            if not self.stop_on_interrupt:
                raise
            assert self.run_ is not None
            self.run_.stopped = True

    def _loop_of_skorch(self, data: TrainingData) -> None:
        try:
            self.fit_loop(data.X, data.y, _routing_method="fit", **data.fit_params)
        except Interrupted:
            raise
        except KeyboardInterrupt:
            pass  # a callback's way to end the training

    @differentiating
    def _train_again(self, data: TrainingData) -> None:
        """Train from the start on data that an earlier fit has checked."""
        check_parameters(self)
        if self.pretrained is not None:
            check_pretrained(self)
        with self._restored_on_error(True):
            self._begin_record()
            self._train(data, start=True, first=True, resume=False)

    @contextmanager
    def _restored_on_error(self, start: bool) -> Iterator[None]:
        """Restore the estimator if a run fails that has not changed the model yet."""
        before = self.__dict__.copy()
        n_lines = len(self.history_ or ())
        try:
            yield
        except BaseException:
            run, trajectory = self.run_, self.__dict__.get("trajectory_")
            if run is not None and not start:
                run.break_off(self)
            if start or run is None or run.n_steps == before.get("n_steps_"):
                self.__dict__.clear()
                self.__dict__.update(before)
                del (self.history_ or [])[n_lines:]
            if trajectory is not None:
                close_run(trajectory, finished=False)
            raise
        else:
            if self.trajectory_ is not None:
                assert self.run_ is not None
                close_run(self.trajectory_, finished=not self.run_.stopped)
        finally:
            run = self.__dict__.pop("run_", None)
            if run is not None:
                self.n_steps_, self.n_epochs_ = run.n_steps, run.n_epochs

    def _kernels(self) -> AbstractContextManager[None]:
        """Return the context to train in: one for all steps costs none of them."""
        if self.record is None:
            return nullcontext()
        return twice_differentiable(net_modules(self))

    def _begin_record(self) -> None:
        self.seed_ = int(
            random_generator(self.random_state).randint(np.iinfo(np.int32).max)
        )
        self.n_steps_, self.n_epochs_ = 0, 0
        self.training_data_ = []
        keep = None if self.record in ("all", "replay", None) else int(self.record)
        self.trajectory_ = None if self.record is None else Trajectory(self.seed_, keep)
        self.retraceable_ = self.record != "replay"

    def _numbered(
        self, X: Any, y: Any, weights: Tensor | None, fit_params: dict[str, Any]
    ) -> TrainingData:
        """Return what is to be trained on, with its row numbers."""
        data = self._training_data(X, y, weights, fit_params)
        if (self.trajectory_ is None) != (self.record is None):
            raise ValueError(
                f"`record` must stay as it was while training continues, got "
                f"{self.record!r}. Call fit with warm_start=False to start anew."
            )
        if self.trajectory_ is not None:
            number_after(data, self.training_data_)
        return data

    def _open_run(self, data: TrainingData, *, new: bool, resume: bool) -> None:
        """Record the run on disk, if `trajectory_dir` is given."""
        if self.trajectory_ is None:
            return
        if not new:
            self.trajectory_ = reopen_run(self.trajectory_)
        elif self.trajectory_dir is not None:
            self.trajectory_ = run_in_folder(self, data, resume=resume)
            self.seed_ = self.trajectory_.seed

    def _class_weights(self, y: np.ndarray | None) -> np.ndarray | None:
        """Return the weight of each sample's class; None for 1."""
        return None

    def _validation_class_weights(
        self, y: np.ndarray | None, *, balanced: bool
    ) -> np.ndarray | None:
        """Return the weight of each validation sample's class; None for 1."""
        return None

    def _initialize(self) -> None:
        self.history_ = None
        seed = derive_seed(self.seed_, "initialization")
        with all_seeded(seed, torch.device(self.device)):
            self.initialize()

    def initialize(self) -> Self:
        """Initialize the net; its module starts from the pretrained parameters.

        Returns
        -------
        self : object
            The estimator.
        """
        super().initialize()
        self.__dict__.pop("pretrained_parameters_", None)
        if self.pretrained is not None:
            start_from_pretrained(self)
        return self

    def _facts(self) -> dict[str, str]:
        return fit_in_words(self)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the estimator to a folder, fitted or not, without pickle.

        Tensors are written by safetensors; arrays, and the names of classes and
        functions, by skops [1]_; the rest as JSON. The folder holds the parameters, the
        model, the trajectory (in the subfolder ``trajectory``, as
        :meth:`Trajectory.save <skinfluence.Trajectory.save>` writes it) and the
        training data; the estimator that it started from (`pretrained`), if there is
        one, is saved the same way in the subfolder ``pretrained``.
        :func:`~skinfluence.load_estimator` loads the estimator.

        Objects of your own classes are saved with their attributes, or with what their
        ``__getstate__`` returns: there a Dataset can leave out an open file.

        Parameters
        ----------
        path : str or Path
            A new or empty folder; it appears under its name once it is complete.
        overwrite : bool, default=False
            Whether to replace an estimator that was saved there. Nothing else is ever
            replaced.

        Raises
        ------
        TypeError
            If a part can only be pickled, such as a lambda, a class defined within a
            function, or an object that holds an open file.
        TrajectoryFileError
            If the folder is in use or cannot be written; its old content is kept.
        RuntimeError
            If the estimator is being fitted.

        References
        ----------
        .. [1] https://skops.readthedocs.io

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> from sklearn.datasets import load_iris
        >>> from skinfluence import SGDInfluenceClassifier, load_estimator
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = SGDInfluenceClassifier("linear", random_state=0).fit(X, y)
        >>> with TemporaryDirectory() as folder:
        ...     clf.save(f"{folder}/iris")
        ...     loaded = load_estimator(f"{folder}/iris")
        ...     scores = loaded.influence(X[:9], y[:9])
        >>> bool((scores == clf.influence(X[:9], y[:9])).all())
        True
        """
        save_estimator(self, path, overwrite=overwrite)

    def forward_iter(
        self, X: object, training: bool = False, device: Device = "cpu"
    ) -> Iterator[Any]:
        """Yield the module's outputs for each batch of X."""
        self.check_is_fitted()
        dataset = self.get_dataset(check_inputs(self, X))
        for batch in self.get_iterator(dataset, training=training):
            returned = self.evaluation_step(batch, training=training)
            yield to_device(movable(returned), device)
