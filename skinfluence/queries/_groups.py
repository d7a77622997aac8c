"""Metrics that compare groups of the validation samples."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ._classes import labels_of, soft_choice
from ._measures import Metric
from ._temperature import check_temperature


def worst_group(groups: ArrayLike) -> Metric:
    r"""Measure the mean loss of the group in which it is largest.

    .. math:: \max_g \frac{1}{n_g} \sum_{i \in g} ℓ_i .

    It is differentiated itself: the derivative is that of the group that is worst now.

    Parameters
    ----------
    groups : array-like of shape (n_val,)
        The group of each validation sample: at least two groups.

    Returns
    -------
    Metric
        For `query`, with these validation samples in this order.

    Examples
    --------
    >>> from skinfluence import queries
    >>> queries.worst_group(["a", "a", "b"]).name
    'worst_group'
    """
    members, check = _grouped(groups)
    function = partial(_worst, members=members)
    return Metric("worst_group", "losses", function, function, check)


def demographic_parity(groups: ArrayLike, temperature: float = 0.1) -> Metric:
    r"""Measure how much more often one group is predicted positive than another.

    The metric is :math:`\max_g r_g - \min_g r_g` of the rates of positive predictions
    (``classes_[1]``), as fairlearn's ``demographic_parity_difference``. The surrogate
    has the mean of the soft counts of :func:`f1` for the rate, and the derivative of
    the two groups that are the extremes now.

    Parameters
    ----------
    groups : array-like of shape (n_val,)
        The group of each validation sample: at least two groups.
    temperature : float, default=0.1
        The T, as of :func:`f1`.

    Returns
    -------
    Metric
        For `query` of a classifier of two classes.

    Examples
    --------
    >>> from skinfluence import queries
    >>> queries.demographic_parity(["a", "a", "b"]).name
    'demographic_parity'
    """
    check_temperature(temperature)
    members, check = _grouped(groups)
    return Metric(
        "demographic_parity",
        "log_probabilities",
        partial(_parity, members=members, positives=_predicted),
        partial(_parity, members=members, positives=_soft(temperature)),
        check,
        two_classes=True,
    )


def equalized_odds(groups: ArrayLike, temperature: float = 0.1) -> Metric:
    r"""Measure how the true or false positive rates of groups differ.

    The metric is the larger one of the two differences :math:`\max_g r_g - \min_g r_g`,
    of the rates of positive predictions among the positive, and among the negative
    samples, as fairlearn's ``equalized_odds_difference``. The surrogate counts as that
    of :func:`demographic_parity`.

    Parameters
    ----------
    groups : array-like of shape (n_val,)
        The group of each validation sample: at least two groups, each with samples of
        both classes.
    temperature : float, default=0.1
        The T, as of :func:`f1`.

    Returns
    -------
    Metric
        For `query` of a classifier of two classes.

    Examples
    --------
    >>> from skinfluence import queries
    >>> queries.equalized_odds(["a", "a", "b", "b"]).name
    'equalized_odds'
    """
    check_temperature(temperature)
    members, check = _grouped(groups)
    return Metric(
        "equalized_odds",
        "log_probabilities",
        partial(_odds, members=members, positives=_predicted),
        partial(_odds, members=members, positives=_soft(temperature)),
        partial(_check_both, members=members, check=check),
        two_classes=True,
    )


def _grouped(groups: Any) -> tuple[np.ndarray, Callable[[Tensor], None]]:
    """Return the groups as whole numbers, and the check of their length."""
    values = np.asarray(groups)
    if values.ndim != 1:
        raise ValueError(
            "`groups` must have one group for each validation sample, shape (n_val,), "
            f"got {f'shape {values.shape}' if values.ndim else repr(groups)}."
        )
    if values.dtype == object:
        # Whatever has no order, such as None among texts, is told apart as a text.
        values = np.array([str(each) for each in values])
    names, members = np.unique(values, return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            f"`groups` must have at least two groups to compare, got {names.tolist()}. "
            "Use 'loss' for all samples together."
        )
    return members, partial(_check_length, length=len(members))


def _check_length(targets: Tensor, length: int) -> None:
    if len(targets) != length:
        raise ValueError(
            "`query` must have one group for each validation sample, got groups for "
            f"{length} and {len(targets)} samples. Give `groups` for the rows of "
            "X_val, in their order."
        )


def _check_both(
    targets: Tensor, members: np.ndarray, check: Callable[[Tensor], None]
) -> None:
    check(targets)
    labels = labels_of(targets).cpu().numpy()
    for group in range(members.max() + 1):
        if len(np.unique(labels[members == group])) < 2:
            raise ValueError(
                "`query` 'equalized_odds' needs samples of both classes in each group, "
                f"got one class in a group of {np.sum(members == group)}. Join small "
                "groups, or use 'demographic_parity'."
            )


def _means(values: Tensor, members: np.ndarray) -> Tensor:
    """Return the mean of each group that has values, in double precision."""
    place = torch.as_tensor(members, device=values.device)
    n_groups = int(members.max()) + 1
    sums = values.new_zeros(n_groups, dtype=torch.float64)
    sums = sums.index_add(0, place, values.double())
    return sums / place.bincount(minlength=n_groups)


def _worst(losses: Tensor, targets: Tensor, members: np.ndarray) -> Tensor:
    return _means(losses, members).max()


def _range(values: Tensor, members: np.ndarray) -> Tensor:
    rates = _means(values, members)
    return rates.max() - rates.min()


def _parity(
    logs: Tensor,
    targets: Tensor,
    members: np.ndarray,
    positives: Callable[[Tensor], Tensor],
) -> Tensor:
    return _range(positives(logs), members)


def _odds(
    logs: Tensor,
    targets: Tensor,
    members: np.ndarray,
    positives: Callable[[Tensor], Tensor],
) -> Tensor:
    counts, labels = positives(logs), labels_of(targets)
    ranges = []
    for label in (0, 1):
        own = labels == label
        ranges.append(_range(counts[own], members[own.cpu().numpy()]))
    return torch.stack(ranges).max()


def _predicted(logs: Tensor) -> Tensor:
    return (logs.argmax(1) == 1).double()


def _soft(temperature: float) -> Callable[[Tensor], Tensor]:
    return partial(_rate, temperature=float(temperature))


def _rate(logs: Tensor, temperature: float) -> Tensor:
    return soft_choice(logs, temperature)[:, 1]
