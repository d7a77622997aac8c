"""kronfluence, an optional dependency, on the objective of an estimator."""

import logging
import warnings
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from .._numbers import random_generator
from ..estimators import FinalModel
from ..influence import Query
from ._gradients import weights_of

_STRATEGY = "ekfac"
_LAYERS = nn.Linear, nn.Conv2d


class _Objective:
    """The training losses and the query, as a Task of kronfluence.

    An item of the data is only its number. It is no subclass, which could not be made
    where kronfluence is not installed.
    """

    enable_post_process_per_sample_gradient = False

    def __init__(self, model: FinalModel, query: Query, random_state: Any) -> None:
        self.model = model
        self.parts = query.by_batch()
        self.rng = random_generator(random_state)
        # Whatever else is a module, such as a criterion, has no layers.
        self.modules = nn.ModuleList(model.objective.modules)
        self.layers = trained_layers(self.modules)

    def compute_train_loss(
        self, batch: Any, model: nn.Module, sample: bool = False
    ) -> Tensor:
        """Return the sum of the losses, or what draws from the Gauss-Newton matrix."""
        inputs, targets, _ = part = self.model.fetch(batch[0].cpu())
        objective = self.model.objective
        outputs = objective.forward(inputs)
        if not sample:
            losses = objective.criterion(outputs, targets, inputs)
            return losses @ weights_of(part, losses)
        at = outputs.detach().requires_grad_()
        roots = curvature_roots(objective.criterion(at, targets, inputs), at)
        signs = torch.from_numpy(self.rng.choice([-1.0, 1.0], roots.shape[:2]))
        drawn = (roots @ signs.to(roots)[..., None])[..., 0]
        weights = weights_of(part, drawn).sqrt()
        return (weights[:, None] * drawn * outputs.reshape(drawn.shape)).sum()

    def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
        """Return the part of a batch in the query."""
        return self.parts[int(batch[0])].here()

    def get_influence_tracked_modules(self) -> list[str]:
        """Return the names of the layers that count."""
        return self.layers

    def get_attention_mask(self, batch: Any) -> None:
        """Return none: all inputs of a layer count."""


def trained_layers(modules: nn.ModuleList) -> list[str]:
    """Return the names of the layers that are trained; refuse modules without any."""
    names = [
        name
        for name, module in modules.named_modules()
        if type(module) in _LAYERS
        # A bare layer would be replaced in the list, and not where it is called.
        and "." in name
        and all(parameter.requires_grad for parameter in module.parameters())
    ]
    if not names:
        raise ValueError(
            "The module must contain trained Linear or Conv2d layers for the scorer "
            "'ekfac', got none. Put a single layer into a Sequential, or use the "
            "scorer 'koh_liang'."
        )
    return names


def curvature_roots(losses: Tensor, outputs: Tensor) -> Tensor:
    """Return R with RRᵀ each loss's second derivative in its outputs, (b, k, k)."""
    (slopes,) = torch.autograd.grad(losses.sum(), outputs, create_graph=True)
    columns = [
        torch.autograd.grad(slope.sum(), outputs, retain_graph=True)[0].reshape(
            len(slopes), -1
        )
        for slope in slopes.reshape(len(slopes), -1).unbind(1)
    ]
    values, vectors = torch.linalg.eigh(torch.stack(columns, 2))
    # Negative ones are rounding, or a loss that is not convex in the outputs.
    return vectors * values.clamp(min=0).sqrt()[:, None]


def pairwise_scores(
    model: FinalModel,
    query: Query,
    damping: float | None,
    batch_size: int,
    random_state: Any,
) -> np.ndarray:
    """Return ∇Qᵀ(G + λ)⁻¹ c_i ∇ℓ_i of each sample that was trained on."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments

    task = _Objective(model, query, random_state)
    # Single precision, unless the model is in double.
    dtype = torch.promote_types(model.parameters[0].dtype, torch.float32)
    train = TensorDataset(model.trained)
    queries = TensorDataset(torch.arange(len(task.parts)))
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # Its calls of torch, even without mixed precision.
        warnings.filterwarnings("ignore", ".*GradScaler", FutureWarning)
        analyzer = Analyzer(
            "skinfluence",
            prepare_model(task.modules, task),
            task,
            cpu=model.parameters[0].device.type == "cpu",
            log_level=logging.ERROR,
            disable_tqdm=True,
            output_dir=folder,
        )
        analyzer.fit_all_factors(
            _STRATEGY,
            train,
            per_device_batch_size=batch_size,
            factor_args=FactorArguments(
                _STRATEGY,
                has_shared_parameters=True,
                activation_covariance_dtype=dtype,
                gradient_covariance_dtype=dtype,
                per_sample_gradient_dtype=dtype,
                lambda_dtype=dtype,
            ),
        )
        analyzer.compute_pairwise_scores(
            "scores",
            _STRATEGY,
            queries,
            train,
            per_device_query_batch_size=1,
            per_device_train_batch_size=batch_size,
            score_args=ScoreArguments(
                damping_factor=damping,
                aggregate_query_gradients=True,
                per_sample_gradient_dtype=dtype,
                precondition_dtype=dtype,
                score_dtype=dtype,
            ),
        )
        scores = analyzer.load_pairwise_scores("scores")["all_modules"]
    found: np.ndarray = scores[0].double().numpy()
    return found
