"""Data for experiments with label noise: fetchers, and noise with known truth."""

from ._fetchers import (
    fetch_adult,
    fetch_cifar10,
    fetch_mnist,
)
from ._newsgroups import fetch_20newsgroups
from ._noise import flip_labels

__all__ = [
    "fetch_20newsgroups",
    "fetch_adult",
    "fetch_cifar10",
    "fetch_mnist",
    "flip_labels",
]
