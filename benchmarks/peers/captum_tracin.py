"""captum: TracInCP over the epoch ends."""

import numpy as np
from captum.influence import TracInCP
from torch import nn
from torch.utils.data import TensorDataset

from .problem import Method, PlainRun, Problem


def _scores(problem: Problem, run: PlainRun, aggregate: bool) -> np.ndarray:
    """Sum the products of gradients over the networks at the epoch ends."""

    def load(module: nn.Module, state: dict) -> float:
        module.load_state_dict(state)
        return problem.clf.lr

    tracin = TracInCP(
        run.module,
        TensorDataset(*problem.tensors),
        run.epoch_ends,
        load,
        loss_fn=nn.CrossEntropyLoss(reduction="sum"),
        batch_size=len(problem.y),
        sample_wise_grads_per_batch=True,
    )
    return tracin.influence(problem.tensors_val, aggregate=aggregate).numpy()


def methods(problem: Problem) -> list[Method]:
    """Return TracInCP."""
    return [
        Method(
            "captum TracInCP",
            Problem.train,
            lambda problem, run: _scores(problem, run, True).ravel(),
            lambda problem, run: _scores(problem, run, False),
        )
    ]
