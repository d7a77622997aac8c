"""What a query measures on each sample: loss, expected error, or a user's measure."""

from typing import Any

import torch
from sklearn.base import BaseEstimator, is_classifier
from skorch.utils import to_tensor
from torch import Tensor

from .._values import check_takes
from ..influence import Measure
from ._criteria import is_log_loss
from ._net import InfluenceNet
from ._typing import QueryLike

BALANCED = "balanced_"
"""Begins the name of a query in whose mean each class counts the same."""

NAMED_QUERIES = ("loss", "error", f"{BALANCED}loss", f"{BALANCED}error")


def has_probabilities(estimator: BaseEstimator) -> bool:
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


def check_query(net: InfluenceNet, query: object) -> None:
    """Refuse an invalid query, or one that the net cannot answer."""
    # Calling a class makes an instance, and no measure.
    if callable(query) and not isinstance(query, type):
        _check_differentiable(query)
        return
    if not isinstance(query, str) or query not in NAMED_QUERIES:
        raise ValueError(
            "`query` must be 'loss', 'error', 'balanced_loss', 'balanced_error' or a "
            f"callable, got {query!r}."
        )
    if query.startswith(BALANCED) and not is_classifier(net):
        raise ValueError(
            f"`query` must be 'loss' or a callable for {type(net).__name__}, which has "
            f"no classes to balance, got {query!r}."
        )
    if query.endswith("error") and not has_probabilities(net):
        raise ValueError(
            f"`query` can be {query!r} only where the outputs are probabilities of "
            f"classes: those of {type(net).__name__} with its criterion and "
            "predict_nonlinearity are not known to be. Use 'loss', or a callable."
        )


def _check_differentiable(query: object) -> None:
    """Refuse a metric of scikit-learn before the work that it would end."""
    if str(getattr(query, "__module__", "")).startswith("sklearn."):
        name = getattr(query, "__name__", repr(query))
        raise ValueError(
            "`query` must be a function of the outputs and targets as torch tensors, "
            "differentiable, with one number for each sample, got scikit-learn's "
            f"{name}. Use 'loss', or 'error', the smooth form of 1 - accuracy."
        )


def measure_of(net: InfluenceNet, query: QueryLike) -> Measure:
    """Return what a query measures on a fitted net's outputs."""
    if callable(query):
        return _checked_measure(net, query)
    # What balances the classes is in the weights of the mean.
    return _expected_error(net) if query.endswith("error") else net.get_losses


def _expected_error(net: InfluenceNet) -> Measure:
    """Return 1 minus the probability of the sample's label."""
    nonlinearity = net._get_predict_nonlinearity()

    def measure(outputs: Any, targets: Any) -> Tensor:
        # skorch turns outputs of shape (n, 1) into (n, 2, 1).
        probabilities = nonlinearity(outputs).flatten(1)
        labels = to_tensor(targets, device=net.device).long().reshape(-1, 1)
        probability: Tensor = probabilities.gather(1, labels)
        return 1 - probability.squeeze(1)

    return measure


def _checked_measure(net: InfluenceNet, query: Measure) -> Measure:
    """Return a user's measure that checks what it returns."""
    check_takes("query", query, "outputs", "targets")

    def measure(outputs: Any, targets: Any) -> Tensor:
        values = query(outputs, to_tensor(targets, device=net.device))
        is_tensor = isinstance(values, Tensor)
        if not is_tensor or values.shape != (len(targets),):
            got = tuple(values.shape) if is_tensor else type(values)
            raise ValueError(
                "`query` must return one number for each sample, a tensor of "
                f"shape ({len(targets)},), got {got}."
            )
        if torch.is_grad_enabled() and not values.requires_grad:
            raise ValueError(
                "`query` must be differentiable in the module's outputs, got a "
                "tensor without a gradient, as comparisons and counts return."
            )
        # Without a gradient it may count or compare. What is computed in a wider dtype,
        # as finite differences are, is not rounded to the net's.
        dtype = values.dtype if net.dtype_ is None else net.dtype_
        return values.to(torch.promote_types(values.dtype, dtype))

    return measure
