"""The regressor."""

from typing import Any

import numpy as np
import torch
from sklearn.utils.metaestimators import available_if
from skorch.net import NeuralNet
from skorch.regressor import NeuralNetRegressor
from torch import nn
from torch.utils.data import DataLoader

from ._contract import EstimatorContract
from ._data import ArrayDataset
from ._refit import RefitMixin


class SGDInfluenceRegressor(RefitMixin, EstimatorContract, NeuralNetRegressor):
    def __init__(
        self,
        module: Any = "mlp",
        *,
        criterion: Any = nn.MSELoss,
        optimizer: Any = torch.optim.SGD,
        lr: float = 0.05,
        max_epochs: int = 20,
        batch_size: int = 64,
        shuffle: bool = True,
        dtype: str = "auto",
        device: Any = "cpu",
        random_state: Any = None,
        record: Any = "all",
        compile: Any = False,
        train_split: Any = None,
        callbacks: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        predict_nonlinearity: Any = "auto",
        iterator_train: Any = DataLoader,
        iterator_valid: Any = DataLoader,
        dataset: Any = ArrayDataset,
        use_caching: Any = "auto",
        torch_load_kwargs: Any = None,
        **kwargs: Any,
    ) -> None:
        self._set_init_params(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _encode_targets(
        self, y: Any, *, reset: bool, classes: Any = None, name: str = "y"
    ) -> Any:
        """Return the targets in floating point."""
        if y is None:
            return None
        shape = y.shape[1:]
        if reset:
            self.target_shape_ = shape
            self.n_outputs_ = shape[0] if shape else None
        if shape != self.target_shape_:
            raise ValueError(
                f"`{name}` must have targets of shape {self.target_shape_} as in fit, "
                f"got {shape}."
            )
        return y if y.dtype.kind == "f" else y.astype(np.float32)

    @available_if(lambda self: False)
    def predict_proba(self, X: Any) -> Any:
        """Regressors have no probabilities: hides skorch's method."""

    def predict(self, X: Any) -> Any:
        """Predict targets.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), or as in fit
            The samples.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predicted targets, in the shape of those of fit.
        """
        predictions = NeuralNet.predict_proba(self, X)
        if getattr(self, "target_shape_", None) == ():
            return predictions.reshape(len(predictions))
        return predictions
