"""The number of threads that a run is trained on."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ._net import InfluenceNet
from ._training_data import TrainingData

N_FIRST = 2
"""Rows that are passed forwards before training, to see whether they can be."""

# Operations of a step forwards up to which two threads save less time on an idle
# machine than they lose on a busy one: measured by benchmarks/threads.py.
_FEW = 2e7


def n_threads_of(net: InfluenceNet, inputs: Any, data: TrainingData) -> int | None:
    """Return on how many threads to train; None for as many as torch is set to.

    Parameters
    ----------
    net : InfluenceNet
        An initialized net.
    inputs : object
        The first of the training data, `N_FIRST` rows at most.
    data : TrainingData
        The training data.
    """
    if not isinstance(net.n_threads, str):
        return net.n_threads
    on_cpu = torch.device(net.device).type == "cpu"
    if torch.get_num_threads() == 1 or not on_cpu:
        return None
    size = len(data.dataset)
    batch = size if net.batch_size == -1 else min(net.batch_size, size)
    forwards = _operations(net, inputs, data.fit_params) * batch / min(N_FIRST, size)
    return 1 if forwards <= _FEW else None


def _operations(net: InfluenceNet, inputs: Any, params: dict[str, Any]) -> float:
    """Count additions and multiplications of a forward pass."""
    try:
        with FlopCounterMode(display=False) as counter:
            net.infer(inputs, **params)
    except Exception:  # a user's module may do what the counter does not follow
        return float("inf")
    # It does not see into kernels of whole recurrent networks.
    n_parameters = sum(p.numel() for p in net.module_.parameters())
    return float(max(counter.get_total_flops(), 2 * n_parameters * N_FIRST))
