"""The net's module and criterion, and the per-sample losses that follow from them."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from skorch.utils import to_tensor
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ...exceptions import UnsupportedCriterionError
from .._modules import BUILT_IN, floating_dtype
from .._validation import DTYPES
from .hooks import RecordingMixin


class ComponentsMixin(RecordingMixin):
    """Makes module and criterion so that every sample has a loss of its own."""

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
        self.dtype_ = floating_dtype(self.module_)
        if self.run_ is not None and any(map(is_lazy, self.module_.parameters())):
            self.module_.to(self.device).eval()
            self._first_outputs()
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
        kwargs = self.get_params_for("criterion")
        if isinstance(self.criterion, nn.Module) and not kwargs:
            self.criterion_ = copy.deepcopy(self.criterion)
        else:
            super().initialize_criterion()
        # "batchmean" sums over all but the samples; "mean" takes the mean.
        criterion: Any = self.criterion_
        reduction = getattr(criterion, "reduction", None)
        if reduction == "sum":
            raise UnsupportedCriterionError(
                "`criterion` must have reduction 'mean' or 'none', got 'sum': a step "
                "takes the mean over its batch. Scale `lr` instead."
            )
        self.sums_outputs_ = reduction == "batchmean"
        if reduction is not None:
            criterion.reduction = "none"
        if isinstance(criterion, nn.Module):
            # A criterion's class weights must have the dtype of the outputs.
            criterion.to(getattr(self, "dtype_", None))
        return self

    def _first_outputs(self) -> tuple[Any, Any, Any]:
        """Return outputs, inputs and targets of the first rows, to see their shapes."""
        assert self.run_ is not None
        data = self.run_.data
        rows = torch.arange(min(2, len(data)))
        inputs, targets = self._fetcher(data.dataset)(rows)
        with torch.no_grad():
            return self.infer(inputs, **data.fit_params), inputs, targets

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Run the module on a batch, in the module's dtype."""
        if not isinstance(x, Tensor):
            x = to_tensor(x, device=self.device)
        if not isinstance(x, Tensor):
            return super().infer(self._cast(x), **fit_params)
        return self.module_(self._cast(x), **fit_params)

    def _cast(self, x: Any) -> Any:
        if isinstance(x, Mapping):
            return {name: self._cast(value) for name, value in x.items()}
        if isinstance(x, (list, tuple)):
            return [self._cast(value) for value in x]
        if not isinstance(x, Tensor):
            return x
        return x.to(self.device, self.dtype_ if x.is_floating_point() else None)

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


def _like_outputs(y_pred: Tensor, y_true: Tensor) -> Tensor:
    """Bring targets to the outputs' shape and dtype where they differ in form alone."""
    if y_true.shape != y_pred.shape and y_true.numel() == y_pred.numel():
        # (n,) against (n, 1): a criterion would broadcast them to (n, n).
        y_true = y_true.reshape(y_pred.shape)
    if y_true.is_floating_point() or y_true.shape == y_pred.shape:
        y_true = y_true.to(y_pred.dtype)
    return y_true
