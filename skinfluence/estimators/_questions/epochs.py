"""The epochs that a query is measured at, and those that are retraced."""

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import TypeGuard

import numpy as np

from ...exceptions import NotRecordedError
from ...trajectory import Trajectory


def state_weights(trajectory: Trajectory, at: object) -> dict[int, float]:
    """Return the weight in the query by number of the state."""
    ends = trajectory.epoch_ends()
    epochs = _epoch_weights(list(ends), at)
    return {ends[epoch]: weight for epoch, weight in epochs.items() if weight}


def _epoch_weights(epochs: Sequence[int], at: object) -> dict[int, float]:
    if isinstance(at, str):
        named = {
            "final": {epochs[-1]: 1.0},
            "epochs": dict.fromkeys(epochs, 1.0),
            "path": {epoch: 1.0 / epoch for epoch in epochs},
        }
        if at not in named:
            raise ValueError(
                "`at` must be 'final', 'epochs', 'path', a sequence of epoch numbers "
                f"or a mapping of epoch number to weight, got {at!r}."
            )
        pairs = list(named[at].items())
    elif isinstance(at, Mapping):
        pairs = list(at.items())
    elif isinstance(at, (Sequence, np.ndarray)):
        pairs = [(epoch, 1.0) for epoch in at]
    else:
        raise TypeError(f"`at` must be a string, a sequence or a mapping, got {at!r}.")
    for epoch, weight in pairs:
        if not is_integer(epoch) or epoch not in epochs:
            raise ValueError(
                f"`at` must name epochs of the run, {epochs[0]} to {epochs[-1]}, got "
                f"{epoch!r}."
            )
        if not isinstance(weight, Real) or not 0 <= weight < np.inf:
            raise ValueError(
                f"`at` must give finite weights that are not negative, got {weight!r} "
                f"for epoch {epoch}."
            )
    weights = {int(epoch): float(weight) for epoch, weight in pairs}
    if len(weights) != len(pairs):
        raise ValueError(f"`at` must name each epoch once, got {list(at)}.")
    total = sum(weights.values())
    if not total > 0:
        raise ValueError(f"`at` must give some epoch a positive weight, got {at!r}.")
    return {epoch: weight / total for epoch, weight in weights.items()}


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is an integer, and not a boolean."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def first_step(trajectory: Trajectory, last_epochs: object) -> int:
    """Return the earliest step to retrace."""
    recorded = trajectory.first_recorded_step
    if last_epochs is None:
        return recorded
    if not is_integer(last_epochs):
        raise TypeError(
            f"`last_epochs` must be an integer or None, got {last_epochs!r}."
        )
    ends = trajectory.epoch_ends()
    kept = sum(end > recorded for end in ends.values())
    if not 1 <= int(last_epochs) <= kept:
        raise NotRecordedError(
            f"`last_epochs` must be between 1 and the number of recorded epochs "
            f"({kept}), got {last_epochs}."
        )
    return trajectory.first_step_of_last(int(last_epochs))
