"""What a query measures on each sample: loss, expected error, or a user's measure."""

from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, is_classifier
from skorch.utils import to_tensor
from torch import Tensor

from .._values import check_takes
from ..influence import Measure
from ..queries import NAMED, TOLD, Metric, SampleMeasure
from ._criteria import is_log_loss
from ._labels import is_multilabel, labels_of
from ._net import InfluenceNet
from ._scorer_queries import is_scorer, scorer_metric
from ._taken import measured
from ._typing import MapDataset, QueryLike
from ._validation import validation_data

BALANCED = "balanced_"
"""Begins the name of a query in whose mean each class counts the same."""

_OWN = ("loss", "error", f"{BALANCED}loss", f"{BALANCED}error")

NAMED_QUERIES = (*_OWN, *NAMED)


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


def check_query(net: InfluenceNet, query: object, *, derivative: bool = True) -> None:
    """Refuse an invalid query, or one that the net cannot answer.

    `derivative` tells whether it is to be differentiated.
    """
    query = _named(query)
    if isinstance(query, (Metric, SampleMeasure)):
        _check_answerable(net, query)
        return
    if is_scorer(query):
        if derivative:
            _refuse_scorer(query)
        return
    # Calling a class makes an instance, and no measure.
    if callable(query) and not isinstance(query, type):
        _check_differentiable(query)
        return
    if not isinstance(query, str) or query not in _OWN:
        raise _unknown(query)
    if query.startswith(BALANCED) and not is_classifier(net):
        raise ValueError(
            f"`query` must be 'loss' or a callable for {type(net).__name__}, which has "
            f"no classes to balance, got {query!r}."
        )
    if query.startswith(BALANCED) and is_multilabel(net):
        _refuse_several_labels(query)
    if query.endswith("error") and not has_probabilities(net):
        _refuse_without_probabilities(net, query)


def metric_of(net: InfluenceNet, query: QueryLike) -> Metric | None:
    """Return the metric that a query is; None for a mean over the samples."""
    named = _named(query)
    if is_scorer(named):
        return scorer_metric(net, named)
    return named if isinstance(named, Metric) else None


def measure_of(net: InfluenceNet, query: QueryLike) -> Measure:
    """Return what a query measures on each sample of a fitted net's outputs."""
    named = _named(query)
    if isinstance(named, SampleMeasure):
        return measured(net, named.takes, named.values)
    if callable(named):
        return _checked_measure(net, named)
    # What balances the classes is in the weights of the mean.
    return _expected_error(net) if named.endswith("error") else net.get_losses


def queried_data(
    net: InfluenceNet,
    X_val: object,
    y_val: ArrayLike | None,
    sample_weight_val: ArrayLike | None,
    query: QueryLike,
) -> tuple[MapDataset, np.ndarray | None]:
    """Return the validation data of a query, and the weights of its mean, checked."""
    if metric_of(net, query) is None:
        balanced = isinstance(query, str) and query.startswith(BALANCED)
        return validation_data(net, X_val, y_val, sample_weight_val, balanced=balanced)
    if sample_weight_val is not None:
        raise ValueError(
            "`sample_weight_val` must be None for a query of the whole validation set: "
            "there is no mean to be weighted. Weight the samples in the function."
        )
    # Nor do the weights of classes in training play a part.
    dataset, _ = validation_data(net, X_val, y_val, None, balanced=False)
    return dataset, None


def _named(query: Any) -> Any:
    """Return what a name of a measure of its own stands for, or else the query."""
    named = isinstance(query, str) and query in NAMED
    return NAMED[query]() if named else query


def _check_answerable(net: InfluenceNet, query: Metric | SampleMeasure) -> None:
    """Refuse a measure that needs what the net does not predict."""
    if is_multilabel(net) and query.takes in ("log_probabilities", "predictions"):
        _refuse_several_labels(query.name)
    if query.takes == "log_probabilities" and not has_probabilities(net):
        _refuse_without_probabilities(net, query.name)
    if query.takes == "predictions" and is_classifier(net):
        raise ValueError(
            f"`query` can be {query.name!r} only for a regressor, got "
            f"{type(net).__name__}. Use 'log_loss' or 'brier'."
        )
    weights = getattr(net, "class_weight", None)
    if weights is not None and not getattr(query, "class_weight", True):
        raise ValueError(
            f"`query` can be {query.name!r} only for an estimator without class_weight "
            f"(got {weights!r:.200}), which weights the query by the noisy labels. Use "
            "'error', or leave out class_weight."
        )
    n_classes = len(getattr(net, "classes_", ()))
    if getattr(query, "two_classes", False) and n_classes not in (0, 2):
        raise ValueError(
            f"`query` can be {query.name!r} only for two classes, got {n_classes}. Use "
            "queries.whole with a function of your own."
        )
    asked = getattr(query, "n_classes", None)
    if asked is not None and n_classes not in (0, asked):
        raise ValueError(
            f"`query` must be a {query.name} for the {n_classes} classes of the "
            f"estimator, got one for {asked}."
        )


def _refuse_without_probabilities(net: InfluenceNet, query: str) -> None:
    raise ValueError(
        f"`query` can be {query!r} only where the outputs are probabilities of "
        f"classes: those of {type(net).__name__} with its criterion and "
        "predict_nonlinearity are not known to be. Use 'loss', or a callable."
    )


def _refuse_several_labels(query: str) -> None:
    raise ValueError(
        f"`query` can be {query!r} only where each sample has one label, and not where "
        "y is an indicator matrix. Use 'loss', 'error' (the share of labels expected "
        "to be wrong), or queries.whole with a function of your own."
    )


def _refuse_scorer(query: object) -> None:
    raise ValueError(
        f"`query` must be {', '.join(map(repr, NAMED_QUERIES))} or a callable where it "
        f"is differentiated, got scikit-learn's scorer {query!r}. Use "
        "counterfactual_influence, which takes it, or queries.whole with a smooth "
        "surrogate."
    )


def _unknown(query: object) -> ValueError:
    """Return the error that says what a query may be."""
    if isinstance(query, str) and query in TOLD:
        return ValueError(
            f"`query` must be told more: queries.{query}{TOLD[query]}, got {query!r}."
        )
    known = (*NAMED_QUERIES, *TOLD)
    near = get_close_matches(query, known, 1) if isinstance(query, str) else []
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ValueError(
        f"`query` must be {', '.join(map(repr, NAMED_QUERIES))} or a callable, got "
        f"{query!r}.{hint} Others are made by skinfluence.queries."
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


def _expected_error(net: InfluenceNet) -> Measure:
    """Return how probable a wrong label is, by the sample's labels."""
    nonlinearity, labels = net._get_predict_nonlinearity(), labels_of(net)

    def measure(outputs: Any, targets: Any) -> Tensor:
        given = to_tensor(targets, device=net.device)
        return labels.errors(nonlinearity(outputs), given)

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
