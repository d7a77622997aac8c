"""What a query is made of: a measure of each sample, or of all samples together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from .._numbers import is_real
from .._values import check_takes

Takes: TypeAlias = Literal["outputs", "predictions", "log_probabilities", "losses"]
"""What a measure is computed from.

The module's outputs; what ``predict_proba`` or ``predict`` makes of them; the
logarithms of the classes' probabilities, (n, n_classes); or the samples' losses, (n,).
"""

Function: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def _any_targets(targets: Tensor) -> None:
    """Accept all targets."""


@dataclass(frozen=True, slots=True, eq=False)
class SampleMeasure:
    """A measure of each validation sample, of which the query is the mean.

    Parameters
    ----------
    name : str
        Its name.
    takes : {"outputs", "predictions", "log_probabilities", "losses"}
        What it is computed from.
    values : callable
        ``values(taken, targets) -> (n,)``, differentiable.
    n_classes : int, optional
        The number of classes that it is for; None for any.
    class_weight : bool, default=True
        Whether the samples may be weighted by the classes of their labels.

    Examples
    --------
    >>> from skinfluence import queries
    >>> queries.brier().takes
    'log_probabilities'
    """

    name: str
    takes: Takes
    values: Function
    n_classes: int | None = None
    class_weight: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """A measure of all validation samples together, lower is better.

    Parameters
    ----------
    name : str
        Its name.
    takes : {"outputs", "predictions", "log_probabilities", "losses"}
        What it is computed from.
    value : callable
        ``value(taken, targets) -> ()``: the metric itself, of all samples.
    smooth : callable or None
        ``smooth(taken, targets) -> ()``: what is differentiated in its place; None for
        a metric that only the exact methods take.
    check : callable
        ``check(targets)`` raises an error if the metric is not defined for them.
    two_classes : bool
        Whether it is defined for two classes only.

    Examples
    --------
    >>> import torch
    >>> from skinfluence import queries
    >>> metric = queries.whole(lambda outputs, targets: outputs.logsumexp(0))
    >>> metric.value(torch.zeros(1), torch.zeros(1)).item()
    0.0
    """

    name: str
    takes: Takes
    value: Function
    smooth: Function | None
    check: Callable[[Tensor], None] = _any_targets
    two_classes: bool = False


def whole(
    function: Callable[[Tensor, Tensor], Tensor],
    exact: Callable[[Tensor, Tensor], Tensor | float] | None = None,
) -> Metric:
    """Make a query of a function of all validation samples together.

    Parameters
    ----------
    function : callable
        ``function(outputs, targets) -> ()``: takes the module's outputs for *all*
        validation samples, in their order, and their targets (for a classifier the
        class indices), both as tensors, and returns a scalar tensor, differentiable in
        the outputs. Lower must be better, for negative influence to mean harm.
    exact : callable, optional
        The metric itself where `function` is a smooth surrogate of it, as what cannot
        be differentiated must have: the same arguments, returns a number or a scalar
        tensor. The exact methods (``counterfactual_influence``, `verify`,
        ``check_influence``) take it; `function` by default.

    Returns
    -------
    Metric
        For `query` of the estimators' methods, scorers and cleaners.

    Raises
    ------
    TypeError
        If one of them cannot take two arguments.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier, queries
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> def largest_loss(outputs, targets):
    ...     losses = -outputs.log_softmax(1).gather(1, targets[:, None])
    ...     return losses.logsumexp(0).squeeze()
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X[::2], y[::2])
    >>> clf.influence(X[1::2], y[1::2], query=queries.whole(largest_loss)).shape
    (75,)
    """
    for name, each in (("function", function), ("exact", exact)):
        if each is None and name == "exact":
            continue
        if not callable(each) or isinstance(each, type):
            raise TypeError(
                f"`{name}` must be a function of the outputs and targets of all "
                f"validation samples, got {each!r:.200}."
            )
        check_takes(name, each, "outputs", "targets")
    name = getattr(function, "__name__", "query")
    value = _Scalar(function if exact is None else exact)
    return Metric(name, "outputs", value, _Scalar(function, differentiable=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Scalar:
    """A user's function, that checks what it returns."""

    function: Callable[[Tensor, Tensor], Tensor | float]
    differentiable: bool = False

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        value = self.function(outputs, targets)
        if not isinstance(value, Tensor) and not self.differentiable and is_real(value):
            return torch.as_tensor(float(value), dtype=torch.float64)
        if not isinstance(value, Tensor) or value.dim():
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value)
            raise ValueError(
                "`query` must return one number for all validation samples, a tensor "
                f"of shape (), got {got}. For one number for each sample give the "
                "function itself, without `whole`."
            )
        if self.differentiable and outputs.requires_grad and not value.requires_grad:
            raise ValueError(
                "`query` must be differentiable in the module's outputs, got a tensor "
                "without a gradient, as comparisons and counts return. Give a smooth "
                "surrogate, and the metric as `exact`: whole(surrogate, metric)."
            )
        return value
