"""Features of pictures by a convolution that is learned from them without labels."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from torch import Tensor
from torch.nn import functional

_N_FILTERS, _SIDE, _CELLS = 256, 6, 2
_N_PATCHES = 50_000  # at most, from which the whitening is estimated
_NOISE = 10.0  # of a pixel, squared: flat patches are not made to seem rich
_RIDGE, _THRESHOLD = 0.1, 0.25
_AT_ONCE = 4  # pictures, so that their responses stay in the cache


class PatchFeatures(TransformerMixin, BaseEstimator):
    """The responses to whitened patches of the training pictures, pooled.

    One layer of a convolutional network whose filters are patches, drawn at random,
    made free of what neighbouring pixels have in common [1]_. What is above a threshold
    is averaged over the four quarters of a picture and of its mirror image; and so are
    the colours, which the responses do not see.

    References
    ----------
    .. [1] A. Coates, A. Y. Ng, "The Importance of Encoding Versus Training with Sparse
       Coding and Vector Quantization", ICML 2011.
    """

    def __init__(self, random_state: int = 0) -> None:
        self.random_state = random_state

    def fit(self, pictures: Sequence[Any], y: Any = None) -> "PatchFeatures":
        """Draw the filters from pictures of one size, with ``pixels``."""
        patches = _normalized(self._drawn(_pixels(pictures)).double())
        mean = patches.mean(dim=0)
        values, vectors = torch.linalg.eigh(torch.cov((patches - mean).T))
        whitening = vectors / (values + _RIDGE).sqrt() @ vectors.T
        whitened = (patches[:_N_FILTERS] - mean) @ whitening
        filters = functional.normalize(whitened) @ whitening
        self._offsets = (filters @ mean).float()[:, None, None]
        # Patches have the mean 0, so that of a filter does not matter to them; without
        # it, it need not be taken from each patch.
        filters = filters - filters.mean(dim=1, keepdim=True)
        self._filters = filters.float().reshape(-1, 3, self._side, self._side)
        return self

    def transform(self, pictures: Sequence[Any]) -> np.ndarray:
        """Return features of shape (n, n_features)."""
        pixels = _pixels(pictures)
        # Made before: results kept one by one between the large buffers of the
        # convolutions would prevent their memory from being used again.
        features = torch.empty(len(pixels), self._pooled(pixels[:1]).shape[1])
        for part, place in zip(
            pixels.split(_AT_ONCE), features.split(_AT_ONCE), strict=True
        ):
            place.copy_((self._pooled(part) + self._pooled(part.flip(3))) / 2)
        return features.numpy()

    def _drawn(self, pixels: Tensor) -> Tensor:
        """Return patches of shape (n_patches, n_values), at random."""
        rng = np.random.RandomState(self.random_state)
        n, _, height, width = pixels.shape
        side = self._side = min(_SIDE, height, width)
        places = (n, height - side + 1, width - side + 1)
        # No more than there are, but for the filters.
        n_patches = min(_N_PATCHES, max(_N_FILTERS, math.prod(places)))
        rows, tops, lefts = (
            torch.from_numpy(rng.randint(high, size=n_patches)) for high in places
        )
        steps = torch.arange(side)
        downwards, across = tops[:, None] + steps, lefts[:, None] + steps
        drawn = pixels[rows[:, None, None], :, downwards[:, :, None], across[:, None]]
        return drawn.permute(0, 3, 1, 2).flatten(1)

    def _pooled(self, pixels: Tensor) -> Tensor:
        """Return the mean responses in each part, positive and negative ones apart."""
        shifted = pixels.float() - 128
        power = _box(shifted.square(), self._side) - _box(shifted, self._side).square()
        scale = (power.clamp(min=0) + _NOISE).rsqrt()
        responses = functional.conv2d(shifted, self._filters) * scale - self._offsets
        cells = min(_CELLS, *responses.shape[2:])
        pooled = [
            functional.adaptive_avg_pool2d(functional.relu(signed - _THRESHOLD), cells)
            for signed in (responses, -responses)
        ]
        colours = functional.adaptive_avg_pool2d(shifted, cells)
        return torch.cat([*pooled, colours], dim=1).flatten(1)


def _pixels(pictures: Sequence[Any]) -> Tensor:
    """Return pixels of shape (n, 3, height, width), uint8."""
    stacked = np.stack([each.pixels for each in pictures])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2)


def _box(values: Tensor, side: int) -> Tensor:
    """Return the means over all channels of each patch."""
    return functional.avg_pool2d(values.mean(dim=1, keepdim=True), side, stride=1)


def _normalized(patches: Tensor) -> Tensor:
    """Return patches of the same brightness and contrast."""
    centered = patches - patches.mean(dim=1, keepdim=True)
    spread = centered.square().mean(dim=1, keepdim=True)
    return centered / (spread + _NOISE).sqrt()
