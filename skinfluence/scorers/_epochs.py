"""What a net computes on its own training data: at the end, and after every epoch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from skorch.utils import to_tensor
from torch import Tensor, nn

from ..estimators import epoch_models

Measure = Callable[[Any, Any, Any], Tensor]
"""``measure(net, outputs, targets) -> (batch,)``, one number for each sample."""


def measure_samples(net: Any, measure: Measure) -> np.ndarray:
    """Return a measure of the samples that the net was last trained on, (n_samples,).

    In evaluation mode: no dropout, and BatchNorm by its running statistics.
    """
    check_is_fitted(net, "training_data_")
    values = []
    with torch.no_grad():
        for batch in net.get_iterator(net.training_data_[-1].dataset, training=False):
            _, targets = batch
            outputs = net.evaluation_step(batch, training=False)
            values.append(measure(net, outputs, targets).double().cpu())
    return torch.cat(values).numpy()


def measure_epochs(net: Any, measure: Measure) -> np.ndarray:
    """Return a measure after each recorded epoch, (n_epochs, n_samples)."""
    return np.stack([measure_samples(model, measure) for _, model in epoch_models(net)])


def losses(net: Any, outputs: Any, targets: Any) -> Tensor:
    """Return the criterion's loss of each sample, unweighted."""
    return net.get_losses(outputs, targets)


def margins(net: Any, outputs: Any, targets: Any) -> Tensor:
    """Return the logit of each sample's label minus the largest of the others."""
    logits = _logits(net, outputs)
    own = to_tensor(targets, device=net.device).long().reshape(-1, 1)
    others = logits.scatter(1, own, -torch.inf).amax(1)
    return logits.gather(1, own)[:, 0] - others


def _logits(net: Any, outputs: Any) -> Tensor:
    """Return the outputs as logits (batch, n_classes), up to a constant in each row."""
    first = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
    logits = first[:, 0] if first.shape[1:] == (1,) else first
    if isinstance(net.criterion_, nn.BCELoss):
        logits = torch.logit(logits, torch.finfo(logits.dtype).eps)
    if logits.dim() == 1:
        return torch.stack([torch.zeros_like(logits), logits], dim=1)
    if logits.dim() != 2:
        raise ValueError(
            "A margin needs one row of logits for each sample, but the module's "
            f"outputs have shape {tuple(first.shape)}. Use the scorer 'loss'."
        )
    if isinstance(net.criterion_, nn.NLLLoss):
        # skorch's nets with this criterion give out probabilities.
        logits = logits.clamp(min=torch.finfo(logits.dtype).tiny).log()
    return logits
