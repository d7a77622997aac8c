"""scikit-learn's estimator contract on top of skorch."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from skorch.utils import to_tensor
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..exceptions import UnsupportedCriterionError
from ..training import derive_seed, moment_names, seeded
from ..trajectory import Trajectory
from ._data import TrainingData, fingerprint
from ._modules import BUILT_IN, floating_dtype
from ._parameters import KeywordParametersMixin
from ._recording import RecordingMixin, TrainingRun
from ._validation import DTYPES, check_data, check_inputs, check_parameters, check_weights


class EstimatorContract(KeywordParametersMixin, RecordingMixin):
    """Validation, seeds, weights and all else that scikit-learn asks of an estimator."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, **fit_params: Any
    ) -> Any:
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
        **fit_params : dict
            Passed to the module's ``forward`` and to ``train_split``, as in skorch.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        start = not (self.warm_start and self.initialized_)
        return self._fit(X, y, sample_weight, fit_params, start=start)

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        classes: Any = None,
        sample_weight: Any = None,
        **fit_params: Any,
    ) -> Any:
        """Train on from where the model stands, for ``max_epochs`` more epochs.

        The steps are added to the trajectory. Data that was trained on before keeps
        its rows; the rows of other data follow after it.

        Parameters
        ----------
        X : array-like, CSR matrix, torch Dataset, or dict or list of arrays
            Training data, as in :meth:`fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets; None where a Dataset holds them.
        classes : array-like of shape (n_classes,), optional
            All labels that will be seen; those of the first `y` if not given.
            Without meaning for a regressor.
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

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        fit_params: dict[str, Any],
        *,
        start: bool,
        classes: Any = None,
    ) -> Any:
        check_parameters(self)
        with self._unharmed_by_errors(start):
            # skorch lets a net be initialized by hand before it has seen any data.
            first = start or not hasattr(self, "training_data_")
            X, y = check_data(self, X, y, reset=first)
            y, labels = self._encode_targets(y, reset=first, classes=classes), y
            weights = self._check_weights(X, labels, sample_weight)
            if first:
                self._open_books()
            data = self._place(X, y, weights, fit_params)
            self.run_ = TrainingRun(
                data,
                len(self.training_data_),
                self.seed_,
                self.n_steps_,
                self.n_epochs_,
                self.trajectory_,
            )
            self.training_data_ = [*self.training_data_, data]
            if start:
                self._initialize()
            self._check_trainable()
            # skorch's own `partial_fit` is the training loop and no more.
            super().partial_fit(X, y, _routing_method="fit", **fit_params)
            self.run_.end(self)
        return self

    @contextmanager
    def _unharmed_by_errors(self, start: bool) -> Iterator[None]:
        """Put everything back if a run fails that has not changed the model yet."""
        before = vars(self).copy()
        try:
            yield
        except BaseException:
            run = self.run_
            if start or run is None or run.n_steps == before.get("n_steps_"):
                vars(self).clear()
                vars(self).update(before)
            raise
        finally:
            run = vars(self).pop("run_", None)
            if run is not None:
                self.n_steps_, self.n_epochs_ = run.n_steps, run.n_epochs

    def _open_books(self) -> None:
        self.seed_ = int(
            check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        )
        self.n_steps_, self.n_epochs_ = 0, 0
        self.training_data_: list[TrainingData] = []
        keep = None if self.record == "all" else self.record
        self.trajectory_ = (
            None if self.record is None else Trajectory(self.seed_, keep)
        )

    def _place(
        self, X: Any, y: Any, weights: Tensor | None, fit_params: dict[str, Any]
    ) -> TrainingData:
        """Give the data its rows: those it has already, or new ones after the last."""
        data = TrainingData(X, y, self.get_dataset(X, y), weights, fit_params)
        if (self.trajectory_ is None) != (self.record is None):
            raise ValueError(
                f"`record` must stay as it was in the training that goes on, got "
                f"{self.record!r}. Call fit with warm_start=False to start anew."
            )
        if self.trajectory_ is not None:
            data.digest = fingerprint(X, y)
            for known in self.training_data_:
                data.offset = known.offset
                if known.digest == data.digest:
                    return data
                data.offset += len(known)
        return data

    def _check_weights(self, X: Any, y: Any, sample_weight: Any) -> Tensor | None:
        """Return the c_i of the samples, scaled to mean 1."""
        weights = check_weights(X, sample_weight)
        if weights is None:
            return None
        return torch.from_numpy(weights * (len(weights) / weights.sum()))

    def _initialize(self) -> None:
        self.history_ = None
        seed = derive_seed(self.seed_, "initialization")
        with seeded(seed, torch.device(self.device)):
            self.initialize()

    def initialize_module(self) -> Any:
        """Make the module; an instance is copied, so that every fit starts from it."""
        kwargs = self.get_params_for("module")
        if isinstance(self.module, str):
            self.module_ = self._built_in_module(kwargs)
        elif isinstance(self.module, nn.Module) and not kwargs:
            self.module_ = copy.deepcopy(self.module)
        else:
            super().initialize_module()
        if self.dtype != "auto":
            self.module_.to(DTYPES[self.dtype])
        if self.run_ is not None and any(map(is_lazy, self.module_.parameters())):
            self.module_.to(self.device).eval()
            self._first_outputs()
        self.dtype_ = floating_dtype(self.module_)
        return self

    def _built_in_module(self, kwargs: dict[str, Any]) -> nn.Module:
        if not hasattr(self, "n_features_in_"):
            raise ValueError(
                f"The built-in module {self.module!r} takes its size from the data: "
                "call fit instead of initialize."
            )
        module = BUILT_IN[self.module](self.n_features_in_, self.n_outputs_, **kwargs)
        dtype = getattr(self, "dtype_", None)
        if self.run_ is not None:
            dtype = getattr(torch, self.run_.data.X.dtype.name)
        return module.to(dtype)

    def initialize_criterion(self) -> Any:
        """Make the criterion, one that does not reduce over the samples."""
        if isinstance(self.criterion, nn.Module) and not self.get_params_for("criterion"):
            self.criterion_ = copy.deepcopy(self.criterion)
        else:
            super().initialize_criterion()
        # "batchmean" sums over all but the samples; "mean" takes the mean.
        reduction = getattr(self.criterion_, "reduction", None)
        if reduction == "sum":
            raise UnsupportedCriterionError(
                "`criterion` must have reduction 'mean' or 'none', got 'sum': a step "
                "takes the mean over its batch. Scale `lr` instead."
            )
        self.sums_outputs_ = reduction == "batchmean"
        if reduction is not None:
            self.criterion_.reduction = "none"
        return self

    def _first_outputs(self) -> tuple[Any, Any, Any]:
        """Return outputs, inputs and targets of the first rows, to see their shapes."""
        assert self.run_ is not None
        data = self.run_.data
        rows = torch.arange(min(2, len(data)))
        inputs, targets = self._fetch(data.dataset, rows)
        with torch.no_grad(), seeded(0, torch.device(self.device)):
            return self.infer(inputs, **data.fit_params), inputs, targets

    def _check_trainable(self) -> None:
        """Refuse what cannot be recorded, before the first step."""
        for name in ("get_loss", "train_step_single"):
            if getattr(type(self), name) is not getattr(EstimatorContract, name):
                raise TypeError(
                    f"{type(self).__name__} must not override `{name}`: the influence "
                    "would be that of another loss. Override `get_losses`, which "
                    "returns one loss for each sample."
                )
        self._set_training(False)
        outputs, inputs, targets = self._first_outputs()
        with torch.no_grad():
            self.get_losses(outputs, targets, X=inputs)
        if self.record is None:
            return
        if len(self._optimizers) != 1:
            raise ValueError(
                f"The net must have one optimizer, got {self._optimizers}. Use "
                "record=None to train without influence."
            )
        moment_names(self.optimizer_)
        if self.compile or hasattr(self, "accelerator"):
            raise ValueError(
                "`compile` and Accelerate change how a step is computed and cannot be "
                "recorded. Use record=None to train without influence."
            )

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Run the module on a batch, in the module's dtype."""
        x = to_tensor(x, device=self.device)
        if isinstance(x, Tensor) and x.is_floating_point():
            x = x.to(self.dtype_ if "dtype_" in vars(self) else None)
        return super().infer(x, **fit_params)

    def get_losses(
        self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False
    ) -> Tensor:
        """Return the loss of each sample of a batch.

        This is where to override the loss: everything else follows from it.

        Parameters
        ----------
        y_pred : Tensor
            The module's outputs.
        y_true : Tensor
            Targets.
        X : object, optional
            Inputs of the batch.
        training : bool, default=False
            Whether it is a training batch.

        Returns
        -------
        Tensor of shape (batch,)
            One loss for each sample; the mean over the sample's outputs if it has
            several.

        Raises
        ------
        UnsupportedCriterionError
            If the criterion does not give one loss for each sample.
        """
        y_true = to_tensor(y_true, device=self.device)
        if isinstance(y_pred, Tensor) and isinstance(y_true, Tensor):
            y_true = _like_outputs(y_pred, y_true)
        losses = super().get_loss(y_pred, y_true, X=X, training=training)
        if losses.dim() == 0 or len(losses) != len(y_true):
            raise UnsupportedCriterionError(
                "`criterion` must give one loss for each sample (as torch's criteria "
                f"do with reduction='none'): got shape {tuple(losses.shape)} for "
                f"{len(y_true)} samples from {type(self.criterion_).__name__}."
            )
        if losses.dim() == 1:
            return losses
        losses = losses.flatten(1)
        return losses.sum(1) if self.sums_outputs_ else losses.mean(1)

    def get_loss(
        self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False
    ) -> Tensor:
        """Return the mean loss of a batch; see :meth:`get_losses`."""
        return self.get_losses(y_pred, y_true, X=X, training=training).mean()

    def forward_iter(self, X: Any, training: bool = False, device: Any = "cpu") -> Any:
        """Yield the module's outputs for each batch of X."""
        self.check_is_fitted()
        return super().forward_iter(check_inputs(self, X), training, device)


def _like_outputs(y_pred: Tensor, y_true: Tensor) -> Tensor:
    """Bring targets to the outputs' shape and dtype where they differ in form alone."""
    if y_true.shape != y_pred.shape and y_true.numel() == y_pred.numel():
        # (n,) against (n, 1): a criterion would broadcast them to (n, n).
        y_true = y_true.reshape(y_pred.shape)
    if y_true.is_floating_point() or y_true.shape == y_pred.shape:
        y_true = y_true.to(y_pred.dtype)
    return y_true
