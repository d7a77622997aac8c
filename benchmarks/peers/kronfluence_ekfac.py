"""kronfluence: influence functions with EK-FAC on the final network."""

import logging
import tempfile
from typing import Any

import numpy as np
import torch
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from .problem import Method, PlainRun, Problem


class Classification(Task):
    """The sum of the losses, to train on and to ask about."""

    def compute_train_loss(
        self, batch: Any, model: nn.Module, sample: bool = False
    ) -> Tensor:
        X, y = batch
        outputs = model(X)
        if sample:
            with torch.no_grad():
                y = torch.multinomial(outputs.softmax(-1), 1).flatten()
        return cross_entropy(outputs, y, reduction="sum")

    def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
        return self.compute_train_loss(batch, model)


def _scores(problem: Problem, run: PlainRun, aggregate: bool) -> np.ndarray:
    """Fit the factors and compute the scores, of the summed query or of each."""
    task = Classification()
    train, val = (
        TensorDataset(*problem.tensors),
        TensorDataset(*problem.tensors_val),
    )
    torch.manual_seed(0)  # the Fisher matrix is of labels drawn from the network
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer(
            "digits",
            prepare_model(run.module, task),
            task,
            cpu=True,
            log_level=logging.ERROR,
            disable_tqdm=True,
            output_dir=folder,
        )
        analyzer.fit_all_factors(
            "ekfac", train, len(problem.y), factor_args=FactorArguments("ekfac")
        )
        analyzer.compute_pairwise_scores(
            "scores",
            "ekfac",
            val,
            train,
            len(problem.y_val),
            len(problem.y),
            score_args=ScoreArguments(
                damping_factor=None, aggregate_query_gradients=aggregate
            ),
        )
        scores = analyzer.load_pairwise_scores("scores")["all_modules"]
    return scores.numpy()


def methods(problem: Problem) -> list[Method]:
    """Return EK-FAC with the damping recommended, a tenth of the mean eigenvalue."""
    return [
        Method(
            "kronfluence EK-FAC",
            Problem.train,
            lambda problem, run: _scores(problem, run, True).ravel(),
            lambda problem, run: _scores(problem, run, False),
        )
    ]
