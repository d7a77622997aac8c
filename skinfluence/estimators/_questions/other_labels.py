"""Which samples carry other labels, in each of many runs, checked."""

from typing import Any

import numpy as np
import torch

from ...counterfactual import OtherTargets
from .samples import sample_groups


def other_targets(net: Any, samples: Any, labels: Any, n_samples: int) -> OtherTargets:
    """Return the runs in which samples carry other labels.

    Parameters
    ----------
    net : object
        The estimator: encodes labels.
    samples : None, array-like of int, sequence of array-likes, or matrix
        The samples of each run, as in ``counterfactual_influence``.
    labels : "all" or array-like
        A label for each run, an array of them for each group, or all labels in turn
        for each sample.
    n_samples : int
        Number of training samples.
    """
    groups = sample_groups(samples, n_samples)
    if isinstance(labels, str) and labels == "all":
        classes = net.classes_
        groups = [group for group in groups for _ in classes]
        labels = np.tile(classes, len(groups) // len(classes))
    if len(labels) != len(groups):
        raise ValueError(
            "`labels` must have a label, or an array of labels, for each of the "
            f"{len(groups)} runs that `samples` asks for, got {len(labels)}."
        )
    tail = getattr(net, "target_shape_", None) or ()
    own = [
        _of_group(run, len(group), label, tail)
        for run, (group, label) in enumerate(zip(groups, labels, strict=True))
    ]
    encoded = net._encode_targets(np.concatenate(own), reset=False, name="labels")
    runs = torch.arange(len(groups)).repeat_interleave(torch.tensor([*map(len, own)]))
    rows = torch.from_numpy(np.concatenate(groups))
    values = torch.from_numpy(encoded)
    changed = torch.zeros(len(groups), n_samples, dtype=torch.bool)
    changed[runs, rows] = True
    every = values.new_zeros(len(groups), n_samples, *tail)
    every[runs, rows] = values
    return OtherTargets(changed, every)


def _of_group(run: int, size: int, label: Any, tail: tuple[int, ...]) -> np.ndarray:
    """Return a label for each sample of a group, from one for all or one for each."""
    given = np.asarray(label)
    try:
        return np.broadcast_to(given, (size, *tail))
    except ValueError:
        raise ValueError(
            f"`labels[{run}]` must be one label, or one for each of the {size} samples "
            f"of its run, got shape {given.shape}."
        ) from None
