"""Other labels of samples in each of many runs, checked."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.base import is_classifier

from ..._values import check_list
from ...counterfactual import OtherTargets
from .._labels import labels_of
from .._net import InfluenceNet
from .samples import Samples, sample_groups

Labels: TypeAlias = str | np.ndarray | Sequence[Any]


def other_targets(
    net: InfluenceNet, samples: Samples, labels: Labels, n_samples: int
) -> OtherTargets:
    """Return the runs in which samples have other labels.

    Parameters
    ----------
    net : object
        The estimator, which encodes labels.
    samples : None, array-like of int, sequence of array-likes, or matrix
        The samples of each run, as in ``counterfactual_influence``.
    labels : "all" or array-like
        A label for each run, an array of them for each group, or all labels in turn
        for each sample. Of several labels of a sample, a row of indicators; "all"
        toggles each in turn.
    n_samples : int
        Number of training samples.
    """
    groups = sample_groups(samples, n_samples)
    if isinstance(labels, str) and labels == "all":
        if not is_classifier(net):
            raise ValueError("`labels` can be 'all' for a classifier only.")
        kind = labels_of(net)
        changes = range(len(net.classes_))
        labels = [kind.after(group, change) for group in groups for change in changes]
        groups = [group for group in groups for _ in changes]
    if isinstance(labels, pd.DataFrame):  # a row for each run, and not a column
        labels = labels.to_numpy()
    labels = check_list("labels", labels, "labels, or arrays of them, or 'all'")
    if len(labels) != len(groups):
        raise ValueError(
            "`labels` must have a label, or an array of labels, for each of the "
            f"{len(groups)} runs that `samples` asks for, got {len(labels)}."
        )
    tail = getattr(net, "target_shape_", None) or ()
    by_group = [
        _of_group(run, len(group), label, tail)
        for run, (group, label) in enumerate(zip(groups, labels, strict=True))
    ]
    encoded = net._encode_targets(np.concatenate(by_group), reset=False, name="labels")
    sizes = torch.tensor([*map(len, by_group)])
    runs = torch.arange(len(groups)).repeat_interleave(sizes)
    rows = torch.from_numpy(np.concatenate(groups))
    values = torch.from_numpy(encoded)
    changed = torch.zeros(len(groups), n_samples, dtype=torch.bool)
    changed[runs, rows] = True
    targets = values.new_zeros(len(groups), n_samples, *tail)
    targets[runs, rows] = values
    return OtherTargets(changed, targets)


def _of_group(
    run: int, size: int, label: ArrayLike, tail: tuple[int, ...]
) -> np.ndarray:
    """Return a label for each sample of a group, from one for all or one for each."""
    array = np.asarray(label)
    try:
        # A single number in the place of a row would change all of its columns.
        if array.ndim < len(tail):
            raise ValueError
        return np.broadcast_to(array, (size, *tail))
    except ValueError:
        raise ValueError(
            f"`labels[{run}]` must be one label{f' of shape {tail}' if tail else ''}, "
            f"or one for each of the {size} samples of its run, got shape "
            f"{array.shape}."
        ) from None
