"""An autoencoder's reconstruction error as a scorer."""

from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ..estimators import SGDInfluenceRegressor


class DenseAutoencoder(nn.Module):
    """Rows through a bottleneck, between two wider layers."""

    def __init__(self, n_features: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_features, 4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, width),
            nn.Linear(width, 4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, n_features),
        )

    def forward(self, X: Tensor) -> Tensor:
        """Return the reconstruction, (n, n_features)."""
        reconstruction: Tensor = self.layers(X)
        return reconstruction


class ConvolutionalAutoencoder(nn.Module):
    """Images through a quarter of their height and width."""

    def __init__(self, n_channels: int, width: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(n_channels, 2 * width, 3, stride=2, padding=1)
        self.narrower = nn.Conv2d(2 * width, width, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.wider = nn.Conv2d(2 * width, n_channels, 3, padding=1)

    def forward(self, X: Tensor) -> Tensor:
        """Return the reconstruction, (n, channels * height * width)."""
        half = torch.relu(self.narrow(X))
        code = self.narrower(half)
        half = torch.relu(self.wide(interpolate(code, size=half.shape[2:])))
        reconstruction: Tensor = self.wider(interpolate(half, size=X.shape[2:]))
        return reconstruction.flatten(1)


class Autoencoder(BaseEstimator):
    """Score the samples by how badly an autoencoder restores them.

    The name ``"autoencoder"`` stands for it. The score is minus the mean squared error
    of the restored input, an outlier's being large [1]_. It is measured in scaled
    inputs: each feature, or each channel of images, has mean 0 and variance 1. Neither
    labels, nor the model, nor the validation data are used.

    2-D data goes through a dense network, images of shape (n, channels, height, width)
    through a convolutional one; both are trained with Adam.

    Parameters
    ----------
    width : int, default=8
        Units of the bottleneck, or its channels for images; the layers around it have
        more. A wide one, trained for long, learns the outliers by heart as well.
    max_epochs : int, default=50
        Epochs of training.
    lr : float, default=0.003
        Adam's learning rate.
    batch_size : int, default=64
        Samples in a batch.
    random_state : int, RandomState instance or None, default=None
        Determines initial weights and batches. Pass an int for the same scores each
        time.
    device : str or torch.device, default="cpu"
        Where to train.

    References
    ----------
    .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained with
       SGD", NeurIPS 2019, section 6, where it is a baseline.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfluence.scorers import Autoencoder
    >>> X = np.random.default_rng(0).normal(size=(100, 2)) @ np.ones((2, 6))
    >>> X[7, 2] = 5.0
    >>> int(Autoencoder(width=2, random_state=0)(None, X).argmin())
    7
    """

    def __init__(
        self,
        width: int = 8,
        *,
        max_epochs: int = 50,
        lr: float = 0.003,
        batch_size: int = 64,
        random_state: Any = None,
        device: Any = "cpu",
    ) -> None:
        self.width = width
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.random_state = random_state
        self.device = device

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        *,
        sample_weight_val: Any = None,
    ) -> np.ndarray:
        """Return minus the reconstruction error of each sample.

        Parameters
        ----------
        estimator : object
            Not used.
        X : array-like or sparse matrix of shape (n_samples, n_features), or images \
                of shape (n_samples, channels, height, width)
            The training inputs, numbers all; a sparse matrix is made dense.
        y, X_val, y_val, sample_weight_val : object
            Not used.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Minus the mean squared errors, in variances of the inputs.

        Raises
        ------
        ValueError
            If X is neither 2-D nor images, or a parameter is not as described.
        """
        if not isinstance(self.width, Integral) or self.width < 1:
            raise ValueError(
                f"`width` must be an integer of at least 1, got {self.width!r}."
            )
        scaled = _scaled(X)
        targets = scaled.reshape(len(scaled), -1)
        net = self._regressor(scaled).fit(scaled, targets)
        errors = np.asarray(net.predict(scaled), dtype=np.float64) - targets
        return -np.square(errors).mean(axis=1)

    def _regressor(self, scaled: np.ndarray) -> SGDInfluenceRegressor:
        images = scaled.ndim == 4
        size = "module__n_channels" if images else "module__n_features"
        return SGDInfluenceRegressor(
            ConvolutionalAutoencoder if images else DenseAutoencoder,
            module__width=self.width,
            optimizer=torch.optim.Adam,
            lr=self.lr,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            random_state=self.random_state,
            device=self.device,
            record=None,
            **{size: scaled.shape[1]},
        )


def _scaled(X: Any) -> np.ndarray:
    """Return X as float32, each feature or channel with mean 0 and variance 1."""
    X = check_array(X, accept_sparse="csr", allow_nd=True, dtype=np.float64)
    X = X if isinstance(X, np.ndarray) else X.toarray()
    if X.ndim not in (2, 4):
        raise ValueError(
            "X must be 2-D, or images of shape (n_samples, channels, height, width) "
            f"for the scorer 'autoencoder', got shape {X.shape}."
        )
    others = tuple(axis for axis in range(X.ndim) if axis != 1)
    spread = X.std(axis=others, keepdims=True)
    scaled = (X - X.mean(axis=others, keepdims=True)) / np.where(spread > 0, spread, 1)
    return np.asarray(scaled, dtype=np.float32)
