"""The model that a loop of the user's own trained, with the questions about its run."""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, NoReturn, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from ..estimators import (
    EstimatorContract,
    LoopRun,
    ResumedLoop,
    SGDInfluenceClassifier,
    SGDInfluenceRegressor,
    check_parameters,
    check_resume,
    check_trainable,
    deep_copy,
)
from ..exceptions import UnsupportedModuleError
from ..training import Ranks, same_values
from ..trajectory import close_run

Criterion: TypeAlias = nn.Module | type[nn.Module] | Callable[[Any, Any], Tensor]
Forward: TypeAlias = Callable[[nn.Module, Any], Any]

_NO_FIT = (
    "A recorded model cannot be trained by `fit`: the loop is yours. Record another "
    "loop with a Recorder. What trains several models itself, such as a cleaner or a "
    "search, needs an SGDInfluenceClassifier or an SGDInfluenceRegressor."
)


def is_criterion(criterion: object) -> bool:
    """Whether a criterion is a module or its class, and not a function."""
    kind = criterion if isinstance(criterion, type) else type(criterion)
    return issubclass(kind, nn.Module)


class Recorded(EstimatorContract):
    """A net whose training is a loop of the user's, which a `Recorder` records."""

    forward_by: Forward | None

    _given: tuple[nn.Module, torch.optim.Optimizer]

    def infer(self, x: object, **fit_params: Any) -> Any:
        """Run the module on a batch, by keywords where the inputs are a mapping."""
        module, inputs = self._called(), self._placed(x)
        if self.forward_by is not None:
            return self.forward_by(module, inputs)
        if isinstance(inputs, Mapping):
            return module(**inputs, **fit_params)
        return module(inputs, **fit_params)

    def _called(self) -> nn.Module:
        """Return the module, or what it is trained in: a copy of it is not."""
        run = self.run_
        wrapper = run.wrapper if isinstance(run, LoopRun) else None
        own = wrapper is not None and wrapper.module is self.module_
        return wrapper if wrapper is not None and own else self.module_

    def __sklearn_clone__(self) -> NoReturn:
        # What clones an estimator fits the clone.
        raise TypeError(_NO_FIT)

    def fit(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise an error: the loop is the user's."""
        raise TypeError(_NO_FIT)

    def partial_fit(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise an error: the loop is the user's."""
        raise TypeError(_NO_FIT)

    def across_ranks(self, group: Any = None) -> Self:
        """Return the model, with its questions answered by several processes together.

        Of every step that is retraced, each process takes some of the batches, and of
        the runs of ``counterfactual_influence`` some of them. All processes must ask
        the same questions in the same order, and all get the whole answer.

        Parameters
        ----------
        group : torch.distributed.ProcessGroup, optional
            The processes; by default all.

        Returns
        -------
        RecordedClassifier or RecordedRegressor
            A shallow copy. The model itself answers alone, in any process, as does a
            copy made where torch.distributed is not initialized.

        Raises
        ------
        ValueError
            If some recorded step has fewer batches than there are processes: a run
            that was trained by as many has enough.
        UnsupportedModuleError
            If the module changes its buffers in training.

        Examples
        --------
        >>> scores = model.across_ranks().influence(X_val, y_val)  # doctest: +SKIP
        """
        ranks, trajectory = Ranks.of(group), self.trajectory_
        assert trajectory is not None
        fewest = min(len(record.micro_batches()) for record in trajectory.records)
        if fewest < ranks.number:
            raise ValueError(
                "Every step of the run must have a batch for each process to share it, "
                f"got a step with {fewest} and {ranks.number} processes. Ask the "
                "question in one process."
            )
        first = trajectory.state(trajectory.first_recorded_step).buffers
        last = trajectory.state(trajectory.n_steps).buffers
        if not all(map(same_values, first, last)):
            raise UnsupportedModuleError(
                "The module must not change its buffers, such as BatchNorm's running "
                "statistics, for several processes to share its steps. Ask the "
                "question in one process."
            )
        shared = copy(self)
        shared._ranks = ranks
        return shared

    # What a Recorder begins, runs and ends.

    def _begin(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        X: Any,
        y: Any,
        ranks: Ranks,
        wrapper: nn.Module | None,
        *,
        resume: bool,
    ) -> LoopRun:
        """Begin to record the training of a module on data, or refuse it."""
        check_resume(self, resume, start=True)
        check_parameters(self)
        self._given = module, optimizer
        self.initialize()
        del self._given
        self._begin_record()
        numbered = self._numbered(X, y, None, {})
        self._open_run(numbered, new=True, resume=resume)
        recorded = self.trajectory_ is not None and self.trajectory_.n_steps > 0
        kind = ResumedLoop if recorded else LoopRun
        run = kind(numbered, 0, self.seed_, 0, 0, self.trajectory_)
        run.ranks, run.wrapper = ranks, wrapper
        self.run_, self.training_data_ = run, [numbered]
        check_trainable(self, numbered)
        run.begin(self)
        module.train()
        return run

    def _set_loading(self, options: dict[str, Any]) -> None:
        """Set how batches are loaded, in training and when they are fetched again."""
        self.batch_size = options.pop("batch_size")
        self.shuffle = options.pop("shuffle")
        self._keywords |= {f"iterator_train__{k}": v for k, v in options.items()}

    def initialize_module(self) -> Self:
        """Take the module as it is."""
        self.module_, _ = self._given
        floating = (p.dtype for p in self.module_.parameters() if p.is_floating_point())
        self.dtype_ = next(floating, None)
        return self

    def initialize_criterion(self) -> Self:
        """Make the criterion, if there is one."""
        if is_criterion(self.criterion):
            return super().initialize_criterion()
        self.criterion_, self.sums_outputs_ = self.criterion, False
        return self

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> Self:
        """Take the optimizer as it is."""
        _, self.optimizer_ = self._given
        return self

    def _end(self) -> None:
        """Close the run, on copies of what was trained."""
        run, trajectory = self.run_, self.trajectory_
        assert isinstance(run, LoopRun)
        assert trajectory is not None
        run.check_ranks()
        run.close(self)
        run.end(self)
        self.n_steps_, self.n_epochs_ = run.n_steps, run.n_epochs
        del self.run_
        # What drew the batches is of the loop.
        for name in ("sampler", "batch_sampler"):
            self._keywords.pop(f"iterator_train__{name}", None)
        names = self._modules + self._criteria + self._optimizers
        # One deep copy for all, so that the optimizer's parameters are the module's.
        self.__dict__.update(
            deep_copy({f"{k}_": getattr(self, f"{k}_") for k in names})
        )
        close_run(trajectory, finished=True)


class RecordedRegressor(Recorded, SGDInfluenceRegressor):
    """A model that a recorded loop trained, as :class:`Recorder` returns it.

    It answers the questions of :class:`~skinfluence.SGDInfluenceRegressor` about its
    run, such as ``influence`` and ``counterfactual_influence``; ``predict`` returns the
    module's outputs. Validation data is given as the training data was: as arrays, or
    as a map-style Dataset of inputs and targets.

    Parameters
    ----------
    module : class
        That of the trained module.
    criterion : torch.nn.Module class or instance, or callable
        Gives one loss for each sample, see :class:`Recorder`.
    forward_by : callable or None
        ``forward_by(module, inputs) -> outputs``.
    **options : dict
        Parameters of :class:`~skinfluence.SGDInfluenceRegressor`.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained module, a copy.
    trajectory_ : Trajectory
        The recorded run.

    Examples
    --------
    >>> import torch
    >>> from skinfluence import Recorder
    >>> X, y = torch.randn(40, 3), torch.randn(40, 2)
    >>> module = torch.nn.Linear(3, 2)
    >>> optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    >>> recorder = Recorder(module, optimizer, torch.nn.MSELoss, (X, y))
    >>> for batch in recorder.batches(batch_size=8, shuffle=True):
    ...     optimizer.zero_grad()
    ...     recorder.loss(batch).backward()
    ...     optimizer.step()
    >>> model = recorder.finish()
    >>> model.influence(X, y).shape, model.predict(X).shape
    ((40,), (40, 2))
    """

    def __init__(
        self,
        module: type[nn.Module],
        criterion: Criterion,
        forward_by: Forward | None = None,
        **options: Any,
    ) -> None:
        super().__init__(module, criterion=criterion, **options)
        self.forward_by = forward_by
        self.target_shape_, self.n_outputs_ = None, None

    def _encode_targets(self, y: Any, **options: Any) -> Any:
        """Return the targets as they are: what they must be, the criterion knows."""
        return y


class RecordedClassifier(Recorded, SGDInfluenceClassifier):
    """A classifier that a recorded loop trained, as :class:`Recorder` returns it.

    It answers the questions of :class:`~skinfluence.SGDInfluenceClassifier` about its
    run, ``label_influence`` among them.

    Parameters
    ----------
    module : class
        That of the trained module.
    criterion : torch.nn.Module class or instance, or callable
        Gives one loss for each sample, see :class:`Recorder`.
    n_classes : int
        The labels are 0 to `n_classes` - 1.
    forward_by : callable or None
        ``forward_by(module, inputs) -> outputs``.
    **options : dict
        Parameters of :class:`~skinfluence.SGDInfluenceClassifier`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    module_ : torch.nn.Module
        The trained module, a copy.
    trajectory_ : Trajectory
        The recorded run.

    Examples
    --------
    >>> import torch
    >>> from skinfluence import Recorder
    >>> X, y = torch.randn(40, 3), torch.arange(40) % 2
    >>> module = torch.nn.Linear(3, 2)
    >>> optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    >>> recorder = Recorder(module, optimizer, torch.nn.CrossEntropyLoss, (X, y))
    >>> for batch in recorder.batches(batch_size=8, shuffle=True):
    ...     optimizer.zero_grad()
    ...     recorder.loss(batch).backward()
    ...     optimizer.step()
    >>> model = recorder.finish()
    >>> model.label_influence(X, y).shape
    (40, 2)
    """

    def __init__(
        self,
        module: type[nn.Module],
        criterion: Criterion,
        n_classes: int,
        forward_by: Forward | None = None,
        **options: Any,
    ) -> None:
        classes = np.arange(n_classes)
        super().__init__(module, criterion=criterion, classes=classes, **options)
        self.forward_by = forward_by
        self.n_classes = n_classes
        self.classes_inferred_, self.n_outputs_ = classes, n_classes
        self.encodes_labels_ = True
