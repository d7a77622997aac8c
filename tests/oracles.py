"""Oracles: plain PyTorch, written apart from the library."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import nn


@dataclass
class Run:
    """What a spy saw of a training run: all that a plain loop needs to repeat it."""

    module: nn.Module | None = None
    optimizer: torch.optim.Optimizer | None = None
    batches: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    groups: list[list[dict[str, Any]]] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)


class Spy(Callback):
    """Notes a run from outside: the first weights, the batches, the learning rates."""

    def __init__(self) -> None:
        self.run = Run()

    def initialize(self) -> "Spy":
        self.run = Run()
        return self

    def on_train_begin(self, net, **kwargs) -> None:
        if self.run.module is None:  # not where partial_fit goes on
            self.run.module, self.run.optimizer = copy.deepcopy(
                (net.module_, net.optimizer_)
            )

    def on_batch_begin(self, net, batch=None, training=False, **kwargs) -> None:
        if training:
            self.run.batches.append(tuple(copy.deepcopy(batch)))
            self.run.groups.append(
                [
                    {k: v for k, v in group.items() if k != "params"}
                    for group in net.optimizer_.param_groups
                ]
            )
            self.run.epochs.append(len(net.history))


def rows_of(inputs: torch.Tensor, X: np.ndarray) -> list[int]:
    """Tell a batch's samples by their values: the library's books are not used."""
    flat = X.reshape(len(X), -1)
    return [
        int(np.flatnonzero((flat == x.reshape(-1)).all(1))[0]) for x in inputs.numpy()
    ]


cross_entropy = partial(nn.functional.cross_entropy, reduction="none")


def retrain(
    run: Run,
    X: np.ndarray,
    weights: np.ndarray,
    *,
    seeds: Sequence[int],
    sample_weight: np.ndarray | None = None,
    clip: Callable[[list[nn.Parameter]], Any] | None = None,
    loss: Callable[[Any, Any], torch.Tensor] = cross_entropy,
    identify: Callable[[Any], torch.Tensor] = lambda inputs: inputs,
    accumulate: int = 1,
    added: Callable[[nn.Module, int], torch.Tensor | float] = lambda *_: 0.0,
) -> list[nn.Module]:
    """Repeat a run with weights on the samples' losses; return the epochs' modules.

    `identify` turns a batch's inputs into rows of X, by which the samples are told.
    With `accumulate` that many batches make a step, or those left of the epoch.
    `added` returns what is added to the loss of the step that begins with a batch.
    """
    module, optimizer = copy.deepcopy((run.module, run.optimizer))
    assert module is not None
    assert optimizer is not None
    parameters = list(module.parameters())
    scale = np.ones(len(X)) if sample_weight is None else sample_weight
    coefficients = torch.from_numpy(weights * scale * len(X) / scale.sum())
    ends = []
    taken = 0
    for step, (inputs, targets) in enumerate(run.batches):
        in_epoch = run.epochs[: step + 1].count(run.epochs[step]) - 1
        left = run.epochs[step:].count(run.epochs[step])
        if in_epoch % accumulate == 0:
            taken, size = 0, min(accumulate, left)
            optimizer.zero_grad()
        rows = rows_of(identify(inputs), X)
        for group, options in zip(
            optimizer.param_groups, run.groups[step], strict=True
        ):
            group.update(options)
        torch.manual_seed(seeds[step])
        module.train()
        losses = loss(module(inputs), targets)
        more = added(module, step) if taken == 0 else 0.0
        ((losses * coefficients[rows]).sum() / len(rows) / size + more).backward()
        taken += 1
        if taken < size:
            continue
        if clip is not None:
            clip(parameters)
        optimizer.step()
        if step + 1 == len(run.batches) or run.epochs[step + 1] != run.epochs[step]:
            ends.append(copy.deepcopy(module))
    return ends


def validation_loss(
    module: nn.Module, X: np.ndarray, y: np.ndarray, buffers_of: nn.Module | None = None
) -> np.ndarray:
    """Return each validation sample's cross-entropy in evaluation mode."""
    if buffers_of is not None:
        for mine, theirs in zip(module.buffers(), buffers_of.buffers(), strict=True):
            mine.copy_(theirs)
    module.eval()
    with torch.no_grad():
        outputs = module(torch.from_numpy(X))
        return nn.functional.cross_entropy(
            outputs, torch.from_numpy(y), reduction="none"
        ).numpy()


def finite_differences(
    run: Run,
    X: np.ndarray,
    value: Callable[[list[nn.Module], list[nn.Module]], np.ndarray],
    *,
    step: float = 1e-5,
    **options: Any,
) -> np.ndarray:
    """Return minus the derivative of `value` in each sample's weight.

    Central differences of fourth order: their error is of order ``step**4``, and the
    rounding error about ``1e-16 / step``.
    """
    ones = np.ones(len(X))
    base = retrain(run, X, ones, **options)
    slopes = []
    for sample in range(len(X)):
        total: Any = 0.0
        for shift, factor in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            weights = ones.copy()
            weights[sample] += shift * step
            total = total + factor * value(retrain(run, X, weights, **options), base)
        slopes.append(-total / (12 * step))
    return np.array(slopes)


def losses_of(module: nn.Module, inputs: Any, targets: torch.Tensor) -> torch.Tensor:
    """Return each sample's cross-entropy, whatever form the outputs have."""
    found = module(**inputs) if isinstance(inputs, dict) else module(inputs)
    return cross_entropy(getattr(found, "logits", found), targets)


def trained_in_order(
    module: nn.Module,
    X: Any,
    y: torch.Tensor,
    weights: torch.Tensor,
    *,
    losses: Callable[..., torch.Tensor] = losses_of,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
    epochs: int = 2,
    batch_size: int = 4,
    **options: Any,
) -> nn.Module:
    """Train a copy on batches of consecutive samples, with weights on their losses.

    X is a tensor, or a dict of tensors. What draws random numbers is no case for it.
    """
    module = copy.deepcopy(module).train()
    trained = optimizer((p for p in module.parameters() if p.requires_grad), **options)
    for _ in range(epochs):
        for rows in torch.arange(len(y)).split(batch_size):
            several = isinstance(X, dict)
            inputs = {k: v[rows] for k, v in X.items()} if several else X[rows]
            trained.zero_grad()
            found = losses(module, inputs, y[rows])
            (weights[rows] @ found / len(rows)).backward()
            trained.step()
    return module.eval()


def weight_slopes(
    module: nn.Module,
    data: tuple[Any, torch.Tensor],
    validation: tuple[Any, torch.Tensor],
    samples: Sequence[int],
    *,
    query: Callable[..., torch.Tensor] = losses_of,
    step: float = 1e-4,
    **options: Any,
) -> np.ndarray:
    """Return minus the derivative of the validation loss in single samples' weights.

    Central differences of fourth order of plain trainings, `trained_in_order`.
    """
    slopes = []
    for sample in samples:
        total = 0.0
        for shift, factor in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            weights = torch.ones(len(data[1]), dtype=torch.float64)
            weights[sample] += shift * step
            trained = trained_in_order(module, *data, weights, **options)
            with torch.no_grad():
                total += factor * float(query(trained, *validation).mean())
        slopes.append(-total / (12 * step))
    return np.array(slopes)


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference over the largest expected value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())
