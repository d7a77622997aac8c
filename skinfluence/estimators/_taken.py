"""What a query's measure is computed from, of a net's outputs."""

from collections.abc import Callable
from typing import Any

import torch
from sklearn.base import is_classifier
from skorch.utils import to_tensor
from torch import Tensor, nn

from ..influence import Measure
from ..queries import Takes
from ._losses import outputs_of
from ._net import InfluenceNet


def taken(net: InfluenceNet, takes: Takes) -> Measure:
    """Return ``measure(outputs, targets)``: what a metric takes of each sample."""
    if takes == "losses":
        return net.get_losses
    kinds: dict[str, Callable[[InfluenceNet], Callable[[Any], Tensor]]] = {
        "outputs": lambda net: outputs_of,
        "predictions": _predictions,
        "log_probabilities": _log_probabilities,
    }
    of: Callable[[Any], Any] = kinds[takes](net)

    def measure(outputs: Any, targets: Any) -> Tensor:
        values = of(outputs)
        if isinstance(values, Tensor) and values.shape[:1] == (len(targets),):
            found: Tensor = values
            return found
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values)
        raise ValueError(
            "A query of the whole validation set takes a module's outputs as one "
            f"tensor with a row for each of the {len(targets)} samples, got {got}."
        )

    return measure


def measured(net: InfluenceNet, takes: Takes, values: Measure) -> Measure:
    """Return a measure of each sample from what it is computed from."""
    of = taken(net, takes)

    def measure(outputs: Any, targets: Any) -> Tensor:
        return values(of(outputs, targets), to_tensor(targets, device=net.device))

    return measure


def _predictions(net: InfluenceNet) -> Callable[[Any], Tensor]:
    """Return what makes ``predict_proba`` or a regressor's ``predict`` of outputs."""
    nonlinearity = net._get_predict_nonlinearity()
    if not is_classifier(net):
        return nonlinearity
    # skorch turns outputs of shape (n, 1) into (n, 2, 1).
    return lambda outputs: nonlinearity(outputs).flatten(1)


def _log_probabilities(net: InfluenceNet) -> Callable[[Any], Tensor]:
    """Return what makes logarithms of the classes' probabilities of outputs."""
    automatic = net.predict_nonlinearity == "auto"
    probabilities = _predictions(net)

    def logs(outputs: Any) -> Tensor:
        scores = outputs_of(outputs)
        # Not from probabilities, which saturate at 0 and 1.
        if automatic and isinstance(net.criterion_, nn.CrossEntropyLoss):
            found = scores.log_softmax(1)
        elif automatic and isinstance(net.criterion_, nn.BCEWithLogitsLoss):
            both = torch.stack([-scores.flatten(), scores.flatten()], dim=1)
            found = nn.functional.logsigmoid(both)
        else:
            values = probabilities(outputs)
            found = values.clamp_min(torch.finfo(values.dtype).tiny).log()
        if found.dim() != 2:
            raise ValueError(
                "A query of classes needs one label for each sample, got outputs of "
                f"shape {tuple(scores.shape)}."
            )
        return found

    return logs
