"""Per-sample losses and margins of a net: at the end, and after each epoch."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet
from skorch.utils import to_tensor
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ..estimators import RecordedRun, outputs_of
from ..training import all_seeded

Outputs = Tensor | tuple[Tensor, ...] | list[Tensor] | Mapping[str, Tensor]
"""What a module returns."""

Measure = Callable[[NeuralNet, Outputs, Tensor], Tensor]
"""``measure(net, outputs, targets)``, one number for each sample, or for each class."""


def measure_samples(net: NeuralNet, measure: Measure) -> np.ndarray:
    """Return a measure of the samples of the net's last fit, (n_samples, ...).

    In evaluation mode: no dropout, and BatchNorm with its running statistics. What a
    Dataset draws is the same each time, and for every model.
    """
    check_is_fitted(net, "training_data_")
    values = []
    with torch.no_grad(), all_seeded(0):
        for batch in net.get_iterator(net.training_data_[-1].dataset, training=False):
            _, targets = batch
            outputs = net.evaluation_step(batch, training=False)
            values.append(measure(net, outputs, targets).double().cpu())
    return torch.cat(values).numpy()


def measure_epochs(net: NeuralNet, measure: Measure) -> np.ndarray:
    """Return a measure after each recorded epoch, (n_epochs, n_samples, ...)."""
    return np.stack(list(_by_epoch(net, measure)))


def mean_over_epochs(
    net: NeuralNet, measure: Measure, n_epochs: int | None = None
) -> np.ndarray:
    """Return the mean of a measure over the recorded epochs, (n_samples, ...).

    With `n_epochs` over the first ones of the run, as many as there are.
    """
    total, count = np.zeros(()), 0
    # One epoch at a time: those of all classes may not fit in memory.
    for values in islice(_by_epoch(net, measure), n_epochs):
        total, count = total + values, count + 1
    return total / count


def _by_epoch(net: NeuralNet, measure: Measure) -> Iterator[np.ndarray]:
    for _, model in RecordedRun.of(net).epoch_models():
        yield measure_samples(model, measure)


def losses(net: NeuralNet, outputs: Outputs, targets: Tensor) -> Tensor:
    """Return the criterion's loss of each sample, unweighted."""
    return net.get_losses(outputs, targets)


def margins(net: NeuralNet, outputs: Outputs, targets: Tensor) -> Tensor:
    """Return the logit of each sample's label minus the largest of the others."""
    return _leads(net, _logits(net, outputs), targets).amin(1)


def probability_leads(net: NeuralNet, outputs: Outputs, targets: Tensor) -> Tensor:
    """Return the probability of each sample's label minus that of each other class.

    Of shape (batch, n_classes), and infinite for the label itself.
    """
    return _leads(net, _probabilities(net, outputs), targets)


def probability_errors(net: NeuralNet, outputs: Outputs, targets: Tensor) -> Tensor:
    """Return the L2 norm of each sample's probabilities minus its one-hot label."""
    probabilities = _probabilities(net, outputs)
    labels = to_tensor(targets, device=net.device).long()
    return (probabilities - one_hot(labels, probabilities.shape[1])).norm(dim=1)


def _leads(net: NeuralNet, values: Tensor, targets: Tensor) -> Tensor:
    labels = to_tensor(targets, device=net.device).long().reshape(-1, 1)
    return (values.gather(1, labels) - values).scatter(1, labels, torch.inf)


def _probabilities(net: NeuralNet, outputs: Outputs) -> Tensor:
    """Return the probabilities of the classes, (batch, n_classes)."""
    # skorch turns outputs of shape (n, 1) into (n, 2, 1).
    probabilities: Tensor = net._get_predict_nonlinearity()(outputs).flatten(1)
    return probabilities


def _logits(net: NeuralNet, outputs: Outputs) -> Tensor:
    """Return the outputs as logits (batch, n_classes), up to a constant in each row."""
    first = outputs_of(outputs)
    logits = first[:, 0] if first.shape[1:] == (1,) else first
    if isinstance(net.criterion_, nn.BCELoss):
        logits = torch.logit(logits, torch.finfo(logits.dtype).eps)
    if logits.dim() == 1:
        return torch.stack([torch.zeros_like(logits), logits], dim=1)
    if logits.dim() != 2:
        raise ValueError(
            "The module must return one row of logits for each sample to have margins, "
            f"but its outputs have shape {tuple(first.shape)}. Use the scorer 'loss'."
        )
    if isinstance(net.criterion_, nn.NLLLoss):
        # skorch expects probabilities from modules with this criterion.
        logits = logits.clamp(min=torch.finfo(logits.dtype).tiny).log()
    return logits
