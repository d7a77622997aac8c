"""What a query measures on each sample: the loss, the expected error, or one's own."""

from collections.abc import Callable
from typing import Any

import torch
from sklearn.base import is_classifier
from skorch.utils import to_tensor
from torch import Tensor

from ._criteria import is_log_loss

Measure = Callable[[Any, Any], Tensor]
"""``measure(outputs, targets) -> (batch,)``, differentiable in the outputs."""

NAMED_QUERIES = ("loss", "error")


def has_probabilities(estimator: Any) -> bool:
    """Return whether an estimator predicts probabilities of classes.

    Parameters
    ----------
    estimator : object
        An estimator, fitted or not.

    Returns
    -------
    bool
        Whether it is a classifier of this library, with a criterion or a
        `predict_nonlinearity` that makes its outputs probabilities.
    """
    if not (is_classifier(estimator) and hasattr(estimator, "predict_nonlinearity")):
        return False
    if estimator.predict_nonlinearity != "auto":
        return callable(estimator.predict_nonlinearity)
    return is_log_loss(estimator.criterion)


def check_query(net: Any, query: Any) -> None:
    """Raise an error if a query is none, or the net cannot answer it."""
    if callable(query):
        return
    if not isinstance(query, str) or query not in NAMED_QUERIES:
        raise ValueError(
            f"`query` must be 'loss', 'error' or a callable, got {query!r}."
        )
    if query == "error" and not has_probabilities(net):
        raise ValueError(
            "`query` can be 'error' only where the outputs are probabilities of "
            f"classes: those of {type(net).__name__} with its criterion and "
            "predict_nonlinearity are not known to be. Use 'loss', or a callable."
        )


def measure_of(net: Any, query: Any) -> Measure:
    """Return what a query measures on a fitted net's outputs."""
    if query == "loss":
        return net.get_losses
    if query == "error":
        return _expected_error(net)
    return _own_measure(net, query)


def _expected_error(net: Any) -> Measure:
    """Return 1 minus the probability of the sample's label."""
    nonlinearity = net._get_predict_nonlinearity()

    def measure(outputs: Any, targets: Any) -> Tensor:
        first = outputs[0] if isinstance(outputs, tuple) else outputs
        # skorch makes (n, 2, 1) of single outputs that have an axis of their own.
        probabilities = nonlinearity(first).flatten(1)
        labels = to_tensor(targets, device=net.device).long().reshape(-1, 1)
        likely: Tensor = probabilities.gather(1, labels)
        return 1 - likely.squeeze(1)

    return measure


def _own_measure(net: Any, query: Measure) -> Measure:
    """Return a user's measure, its result checked."""

    def measure(outputs: Any, targets: Any) -> Tensor:
        values = query(outputs, to_tensor(targets, device=net.device))
        given = isinstance(values, Tensor)
        if not given or values.shape != (len(targets),):
            got = tuple(values.shape) if given else type(values)
            raise ValueError(
                "`query` must return one number for each sample, a tensor of "
                f"shape ({len(targets)},), got {got}."
            )
        if torch.is_grad_enabled() and not values.requires_grad:
            raise ValueError(
                "`query` must be differentiable in the module's outputs, got a "
                "tensor without a gradient, as comparisons and counts give it."
            )
        return values

    return measure
