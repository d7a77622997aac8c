"""Data for experiments with label noise: fetchers, and noise whose truth is known."""

from skinfluence.datasets._fetchers import (
    fetch_adult,
    fetch_cifar10,
    fetch_mnist,
)
from skinfluence.datasets._newsgroups import fetch_20newsgroups
from skinfluence.datasets._noise import flip_labels

__all__ = [
    "fetch_20newsgroups",
    "fetch_adult",
    "fetch_cifar10",
    "fetch_mnist",
    "flip_labels",
]
