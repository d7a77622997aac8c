"""Data for experiments: fetchers, and noise with known truth.

Every kind of noise returns a changed copy of the data, in the same container, and a
mask of what it changed.
"""

from ._class_noise import flip_labels_by_class
from ._feature_noise import add_feature_noise, add_unit_errors
from ._fetchers import (
    fetch_adult,
    fetch_cifar10,
    fetch_mnist,
)
from ._group_noise import flip_labels_by_group
from ._instance_noise import flip_labels_by_instance
from ._missing import ampute
from ._newsgroups import fetch_20newsgroups
from ._noise import flip_labels
from ._outliers import add_outliers

__all__ = [
    "add_feature_noise",
    "add_outliers",
    "add_unit_errors",
    "ampute",
    "fetch_20newsgroups",
    "fetch_adult",
    "fetch_cifar10",
    "fetch_mnist",
    "flip_labels",
    "flip_labels_by_class",
    "flip_labels_by_group",
    "flip_labels_by_instance",
]
