"""An autoencoder's reconstruction error as a scorer."""

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from torch import Tensor, nn
from torch.nn.functional import interpolate

from .._numbers import check_integer, is_real
from ..estimators import SGDInfluenceRegressor
from ..training import check_device
from ._base import BaseScorer, ScoringData


class DenseAutoencoder(nn.Module):
    """A bottleneck between two wider layers."""

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
    """Images reduced to a quarter of their height and width."""

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


class Autoencoder(BaseScorer, name="autoencoder"):
    """Score the samples by the reconstruction error of an autoencoder.

    Named ``"autoencoder"``. The score is minus the mean squared reconstruction error,
    which is large for outliers [1]_, in variances of the inputs: each feature, or each
    channel of images, is scaled to mean 0 and variance 1. Only X is used: no labels, no
    model, no validation data.

    2-D data, dense or sparse, is passed to a dense network, images of shape
    (n_samples, channels, height, width) to a convolutional one; both are trained with
    Adam.

    Parameters
    ----------
    width : int, default=8
        Units of the bottleneck, or its channels for images; the layers around it are
        wider. A wide bottleneck trained for long memorizes the outliers too.
    max_epochs : int, default=50
        Epochs of training.
    lr : float, default=0.003
        Adam's learning rate.
    batch_size : int, default=64
        Samples in a batch.
    random_state : int, RandomState instance or None, default=None
        Determines initial weights and batches. Pass an int for reproducible scores.
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
        random_state: int | np.random.RandomState | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.width = width
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.random_state = random_state
        self.device = device

    _required_data = ("X",)

    def _check_parameters(self) -> None:
        check_integer("width", self.width, 1)
        check_integer("max_epochs", self.max_epochs)
        check_device(self.device)
        if not (is_real(self.lr) and 0 <= self.lr < np.inf):
            raise ValueError(
                f"`lr` must be a finite number of at least 0, got {self.lr!r}."
            )

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return minus the reconstruction error of each sample."""
        scaled = _scaled(data.X)
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
            # Only its predictions are used.
            record=None,
            **{size: scaled.shape[1]},
        )


def _scaled(X: ArrayLike | None) -> np.ndarray:
    """Return X as float32, each feature or channel with mean 0 and variance 1."""
    checked = check_array(X, accept_sparse="csr", allow_nd=True, dtype=np.float64)
    dense: np.ndarray = checked.toarray() if issparse(checked) else checked
    if dense.ndim not in (2, 4):
        raise ValueError(
            "X must be 2-D, or images of shape (n_samples, channels, height, width) "
            f"for the scorer 'autoencoder', got shape {dense.shape}."
        )
    # A channel is scaled as a whole: its pixels stay comparable.
    axes = tuple(axis for axis in range(dense.ndim) if axis != 1)
    spread = dense.std(axis=axes, keepdims=True)
    centred = dense - dense.mean(axis=axes, keepdims=True)
    return np.asarray(centred / np.where(spread > 0, spread, 1), dtype=np.float32)
