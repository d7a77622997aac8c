"""Chains of trainings for tests, and plain PyTorch that repeats a chain whole."""

import copy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from tests.cases import OPTIMIZERS
from tests.oracles import Spy, cross_entropy, retrain, rows_of

# Whole batches: BatchNorm cannot be trained on one sample.
N_FEATURES, N_PRETRAINING, N_FINE, BATCH = 5, 8, 12, 4
N_SAMPLES = (N_FINE, N_PRETRAINING, 8)


# Smooth activations: a kink within a finite difference's reach would spoil the oracle.
def mlp(outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(N_FEATURES, 4), nn.Tanh(), nn.Linear(4, 3), nn.Tanh(), head(outputs)
    )


def batch_norm(outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(N_FEATURES, 4), nn.BatchNorm1d(4), nn.Softplus(), head(outputs, 4)
    )


def dropout(outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(N_FEATURES, 6), nn.Tanh(), nn.Dropout(0.4), head(outputs, 6)
    )


def head(outputs: int, width: int = 3) -> nn.Module:
    return nn.Linear(width, outputs)


MODULES = {f.__name__: f for f in (mlp, batch_norm, dropout)}


def squared_error(outputs, targets):
    return (outputs - targets).square().mean(1)


def data(stage: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return X and y of a stage; 0 is the last one trained."""
    rng = np.random.default_rng(10 + stage)
    X = rng.normal(size=(N_SAMPLES[stage], N_FEATURES))
    y = np.arange(len(X)) % outputs
    X[:, 0] += y
    return X, y


def validation(outputs: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    y = np.arange(6) % outputs
    return rng.normal(size=(6, N_FEATURES)) + 0.5 * y[:, None], y


@dataclass
class Chain:
    """Estimators that were trained one from the other; the last one trained first."""

    estimators: list[Any] = field(default_factory=list)
    spies: list[Spy] = field(default_factory=list)
    data: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    losses: list[Any] = field(default_factory=list)
    clips: list[Any] = field(default_factory=list)

    @property
    def last(self) -> Any:
        return self.estimators[0]

    def retrain(
        self, weights: np.ndarray, stage: int = 1, targets: np.ndarray | None = None
    ) -> list[nn.Module]:
        """Repeat all trainings with weights on a stage's samples; the last's ends.

        `targets` take the place of those of the stage's samples.
        """
        ends: list[nn.Module] = []
        for k in reversed(range(len(self.estimators))):
            X, run = self.data[k][0], self.spies[k].run
            if k == stage and targets is not None:
                own = torch.from_numpy(targets)
                batches = [(x, own[rows_of(x, X)]) for x, _ in run.batches]
                run = replace(run, batches=batches)
            records = self.estimators[k].trajectory_.records
            ends = retrain(
                run if not ends else begun(run, ends[-1]),
                X,
                weights if k == stage else np.ones(len(X)),
                seeds=[record.seed or 0 for record in records],
                loss=self.losses[k],
                clip=self.clips[k],
            )
        return ends


def begun(run, source: nn.Module):
    """Return the run with a first module that has taken over another's tensors."""
    module, optimizer = copy.deepcopy((run.module, run.optimizer))
    theirs = source.state_dict()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name in theirs and theirs[name].shape == tensor.shape:
                tensor.copy_(theirs[name])
    return replace(run, module=module, optimizer=optimizer)


def options(optimizer: str = "momentum", **more: Any) -> dict[str, Any]:
    return {
        "lr": 0.1,
        "max_epochs": 2,
        "batch_size": BATCH,
        "dtype": "float64",
        "random_state": 0,
        **OPTIMIZERS[optimizer],
        **more,
    }


def trained(
    module: str = "mlp",
    optimizer: str = "momentum",
    *,
    frozen: Any = False,
    n_stages: int = 2,
    autoencoder: bool = False,
    callbacks: Any = (),
    **more: Any,
) -> Chain:
    """Train stage after stage; `frozen` for each stage but the first trained."""
    frozen = [frozen] * n_stages if isinstance(frozen, bool) else frozen
    chain, pretrained = Chain(), None
    for stage in reversed(range(n_stages)):
        outputs = 2 + stage  # other classes in each
        X, y = data(stage, outputs)
        spy = Spy()
        own = options(
            optimizer,
            pretrained=pretrained,
            freeze_pretrained=pretrained is not None and frozen[stage],
            callbacks=[spy, *(callbacks if stage == 0 else ())],
            **more,
        )
        if autoencoder and stage == n_stages - 1:
            make = partial(MODULES[module], N_FEATURES)
            pretrained, y, loss = SGDInfluenceRegressor(make, **own), X, squared_error
        else:
            make = partial(MODULES[module], outputs)
            pretrained, loss = SGDInfluenceClassifier(make, **own), cross_entropy
        chain.estimators.insert(0, pretrained.fit(X, y))
        chain.spies.insert(0, spy)
        chain.data.insert(0, (X, y))
        chain.losses.insert(0, loss)
        chain.clips.insert(0, None)
    return chain
