"""The spacing of checkpoints that a memory budget allows."""

from pathlib import Path

import torch
from torch import Tensor

from ...training import own_memory, state_nbytes
from ...trajectory import (
    Trajectory,
    fewest_states,
    held_by,
    held_on_device,
    leaves_room,
    smallest_interval,
    spill,
)
from .._net import InfluenceNet, net_buffers, norm_buffers
from .batches import Batches
from .free_memory import free_bytes, free_on_disk

_AT_MOST = 4 * 2**30


def plan_checkpoints(
    trajectory: Trajectory, net: InfluenceNet, batches: Batches
) -> None:
    """Choose which states a trajectory keeps of the steps to come.

    Raises
    ------
    ValueError
        If they cannot be retraced within the budget.
    """
    try:
        n_batches = len(batches)
    except (TypeError, NotImplementedError):
        n_batches = 0  # states are dropped when they become too many
    epoch_steps = -(-n_batches // int(net.accumulate_steps))
    held = held_by(trajectory)
    # Of NumPy, the number of epochs could overflow.
    n_steps = held.n_steps + int(net.max_epochs) * epoch_steps
    # This call's first state is kept too, and one before the oldest epoch.
    n_fixed = held.n_fixed
    if trajectory.keep_epochs is not None:
        n_steps = min(n_steps, trajectory.keep_epochs * max(epoch_steps, 1))
        n_fixed += 1
    device = torch.device(net.device)
    trajectory.max_bytes = trajectory_bytes(
        net.max_trajectory_bytes, device, held.nbytes, held.folder
    )
    if own_memory(device) is not None and held.folder is None:
        on_device = trajectory_bytes("auto", device, held_on_device(trajectory))
        trajectory.max_bytes = with_host(
            net.max_trajectory_bytes, on_device, free_bytes(torch.device("cpu"))
        )
        spill(trajectory, min(on_device, trajectory.max_bytes), device)
    # Where others change too, states are larger, and fewer of them are kept.
    buffers, changing = net_buffers(net), norm_buffers(net)
    size = state_nbytes(net.optimizer_, changing)
    shared = _nbytes(buffers) - _nbytes(changing)
    trajectory.widen(
        choose_interval(
            net.checkpoint_every, n_steps, size, trajectory.max_bytes, n_fixed, shared
        )
    )


def _nbytes(tensors: list[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def trajectory_bytes(
    budget: str | int, device: torch.device, held: int = 0, folder: Path | None = None
) -> int:
    """Return the bytes that a trajectory may take, by default a quarter of the free.

    Those that it holds already count as free, and others that train at the same time
    on the same machine have their shares.
    """
    if budget != "auto":
        return int(budget)
    if folder is not None:
        return (free_on_disk(folder) + held) // 4
    return min((free_bytes(device) + held) // 4, _AT_MOST)


def with_host(budget: str | int, on_device: int, free_on_host: int) -> int:
    """Return the bytes that a trajectory may take of device and host together.

    Recomputed states are on the device: they fit there if the host holds at most twice
    as much as the device.
    """
    if budget != "auto":
        return int(budget)
    return on_device + min(free_on_host // 4, _AT_MOST, 2 * on_device)


def choose_interval(
    checkpoint_every: str | int,
    n_steps: int,
    state_bytes: int,
    max_bytes: int,
    n_fixed: int = 0,
    shared_bytes: int = 0,
) -> int:
    """Return the number of steps between kept states.

    Parameters
    ----------
    checkpoint_every : "auto" or int
        The estimator's parameter.
    n_steps : int
        Expected number of steps of the run.
    state_bytes, max_bytes : int
        Size of a state, and of all states at one time at most.
    n_fixed : int
        Number of further states that are kept while there is room for them.
    shared_bytes : int
        Size of what all states share.

    Raises
    ------
    ValueError
        If that many steps cannot be retraced with so few states.
    """
    max_states = max(0, max_bytes - shared_bytes) // max(1, state_bytes)
    fewest = fewest_states(n_steps)
    if max_states < fewest:
        raise ValueError(
            f"`max_trajectory_bytes` must have room for {fewest} states of "
            f"{state_bytes:,} bytes to retrace {n_steps} steps, "
            f"{fewest * state_bytes + shared_bytes:,} bytes in all, got {max_bytes:,}. "
            "Raise it, record only the last epochs (`record`), or train without "
            "influence (record=None)."
        )
    max_states = max(max_states - n_fixed, fewest)
    if checkpoint_every == "auto":
        return smallest_interval(n_steps, max_states)
    interval = int(checkpoint_every)
    n_kept = -(-n_steps // interval) + 1
    if not leaves_room(n_kept, min(interval, max(n_steps, 1)), max_states):
        raise ValueError(
            f"`checkpoint_every` must leave room for the states between two kept ones: "
            f"with {interval} the run keeps {n_kept} states of {state_bytes:,} bytes, "
            f"and `max_trajectory_bytes` ({max_bytes:,}) has room for {max_states}. "
            "Use 'auto', or raise `max_trajectory_bytes`."
        )
    return interval
