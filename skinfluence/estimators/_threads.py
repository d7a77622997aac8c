"""The number of threads that a run is trained on."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from ._net import InfluenceNet
from ._training_data import TrainingData

_N_FIRST = 2  # rows that are passed forwards

# Operations of a step forwards up to which one thread is taken. On two busy cores, two
# threads took two to four times as long as one for 1, 11 and 38 million operations
# (benchmarks/threads.csv). From where on they are faster on an idle machine is not
# measured: the bound is a guess that leaves larger networks as torch is set.
_FEW = 2e7


def n_threads_of(net: InfluenceNet, data: TrainingData) -> int | None:
    """Return on how many threads to train; None for as many as torch is set to.

    Parameters
    ----------
    net : InfluenceNet
        An initialized net.
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
    forwards = _operations(net, data) * batch / min(_N_FIRST, size)
    return 1 if forwards <= _FEW else None


def _operations(net: InfluenceNet, data: TrainingData) -> float:
    """Count additions and multiplications of a forward pass of the first rows."""
    try:
        inputs, _ = net._fetcher(data)(torch.arange(min(_N_FIRST, len(data.dataset))))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net.infer(inputs, **data.fit_params)
    except Exception:  # a user's module may do what the counter does not follow
        return float("inf")
    # It does not see into kernels of whole recurrent networks.
    n_parameters = sum(p.numel() for p in net.module_.parameters())
    return float(max(counter.get_total_flops(), 2 * n_parameters * _N_FIRST))
