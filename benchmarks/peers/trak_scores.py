"""TRAK: projected gradients of the margin at several epoch ends."""

import logging
import tempfile

import numpy as np
import torch
from trak import TRAKer

from .problem import Method, PlainRun, Problem

# Below the number of samples, as the kernel of the features must be inverted.
_PROJECTED = 512
_CHECKPOINTS = 10


def score(problem: Problem, run: PlainRun) -> np.ndarray:
    """Return the mean over the queries."""
    return each(problem, run).mean(0)


def each(problem: Problem, run: PlainRun) -> np.ndarray:
    """Score margins, and turn them into the loss by the chain rule."""
    count = len(run.epoch_ends)
    places = np.linspace(count / 2, count - 1, min(_CHECKPOINTS, count)).astype(int)
    checkpoints = {int(place): run.epoch_ends[place] for place in places}
    n_val = len(problem.y_val)
    with tempfile.TemporaryDirectory() as folder:
        traker = TRAKer(
            run.module,
            "image_classification",
            len(problem.y),
            save_dir=folder,
            device="cpu",
            proj_dim=_PROJECTED,
            logging_level=logging.ERROR,
            use_half_precision=False,
        )
        for place, state in checkpoints.items():
            traker.load_checkpoint(state, place)
            traker.featurize(problem.tensors, num_samples=len(problem.y))
        traker.finalize_features()
        for place, state in checkpoints.items():
            traker.start_scoring_checkpoint("val", state, place, n_val)
            traker.score(problem.tensors_val, num_samples=n_val)
        margins = np.array(traker.finalize_scores("val"))
    # The loss is log(1 + exp(-margin)): it falls with slope 1 - p.
    X_val, y_val = problem.tensors_val
    with torch.no_grad():
        p = run.module(X_val).softmax(-1)[torch.arange(n_val), y_val]
    return (margins * (1 - p).numpy()).T


def methods(problem: Problem) -> list[Method]:
    """Return TRAK."""
    return [Method("TRAK", Problem.train, score, each)]
