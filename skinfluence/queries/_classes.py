"""Metrics of classifiers."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .._numbers import check_integer
from ._measures import Metric, SampleMeasure
from ._temperature import check_temperature

# So many pairs of samples are compared at once.
_PAIRS = 2**22


def auc(temperature: float = 0.1) -> Metric:
    r"""Measure 1 minus the area under the ROC curve.

    The metric, with the log-odds :math:`s` of the positive class (``classes_[1]``),
    counts pairs of a positive sample i and a negative sample j; ties count half:

    .. math:: 1 - \frac{1}{PN} \sum_{i \in P, j \in N} [s_i > s_j].

    Its surrogate replaces the step by a sigmoid, :math:`σ((s_i - s_j)/(TS))`, where S
    is the standard deviation of all log-odds: as in the metric, their scale plays no
    part. With more than two classes it is the mean over those of the validation set,
    each against the rest, as scikit-learn's ``multi_class="ovr"``.

    Parameters
    ----------
    temperature : float, default=0.1
        The T, in standard deviations of the log-odds.

    Returns
    -------
    Metric
        For `query`; the name ``"auc"`` is that with the default.

    Examples
    --------
    >>> from skinfluence import queries
    >>> queries.auc(temperature=0.5).name
    'auc'
    """
    check_temperature(temperature)
    return Metric(
        "auc",
        "log_probabilities",
        partial(_over_classes, _auc),
        partial(_over_classes, partial(_smooth_auc, temperature=float(temperature))),
        _check_two_labels,
    )


def average_precision(temperature: float = 0.1) -> Metric:
    r"""Measure 1 minus the average precision.

    The metric is that of scikit-learn: the sum over the thresholds n of
    :math:`(R_n - R_{n-1}) P_n`, with recall R and precision P. Without ties that is the
    mean over the positive samples i of (positives ranked at i or above) / (samples
    ranked at i or above). The surrogate is Smooth-AP [1]_: both ranks are counted by
    sigmoids of the log-odds,

    .. math:: 1 - \frac1P \sum_{i \in P}
       \frac{1 + \sum_{j \in P, j \ne i} σ((s_j - s_i)/(TS))}
       {1 + \sum_{j \ne i} σ((s_j - s_i)/(TS))},

    where S is the standard deviation of all log-odds. With more than two classes it is
    the mean over those of the validation set.

    Parameters
    ----------
    temperature : float, default=0.1
        The T, in standard deviations of the log-odds.

    Returns
    -------
    Metric
        For `query`; the name ``"average_precision"`` is that with the default.

    References
    ----------
    .. [1] A. Brown, W. Xie, V. Kalogeiton, A. Zisserman, "Smooth-AP: Smoothing the Path
       Towards Large-Scale Image Retrieval", ECCV 2020.

    Examples
    --------
    >>> from skinfluence import queries
    >>> queries.average_precision().name
    'average_precision'
    """
    check_temperature(temperature)
    smooth = partial(_smooth_precision, temperature=float(temperature))
    return Metric(
        "average_precision",
        "log_probabilities",
        partial(_over_classes, _precision),
        partial(_over_classes, smooth),
        _check_two_labels,
    )


def f1(temperature: float = 0.1) -> Metric:
    r"""Measure 1 minus the F1 score.

    The metric is :math:`1 - 2TP / (2TP + FP + FN)` of the positive class
    (``classes_[1]``), with more than two classes the mean over those of the validation
    set. The surrogate has soft counts,

    .. math:: 1 - \frac{2 \sum_{i \in P} p_i}{\sum_i p_i + P},
       \quad p_i = \mathrm{softmax}(z_i / (TS)),

    where z are the log-probabilities minus their mean over the classes, and S is the
    root mean square of all z: as in the metric, their scale plays no part.

    Parameters
    ----------
    temperature : float, default=0.1
        The T.

    Returns
    -------
    Metric
        For `query`; the name ``"f1"`` is that with the default.

    Examples
    --------
    >>> from skinfluence import queries
    >>> queries.f1().name
    'f1'
    """
    check_temperature(temperature)
    return Metric(
        "f1",
        "log_probabilities",
        _f1,
        partial(_smooth_f1, temperature=float(temperature)),
        _check_two_labels,
    )


def calibration(n_bins: int = 15, temperature: float = 1e-3) -> Metric:
    r"""Measure the expected calibration error.

    Samples are put into bins of equal width by the probability :math:`c` of the
    predicted class. With :math:`a_i` whether the prediction is right, the metric is

    .. math:: \frac1n \sum_b \Big| \sum_i u_{ib} (a_i - c_i) \Big|,

    where :math:`u_{ib}` is 1 in the sample's bin and 0 in the others. The surrogate has
    the soft bins of [1]_, :math:`u_{ib} \propto \exp(-(c_i - m_b)^2 / T)` with the
    middles :math:`m_b` of the bins; it does not see predictions change (:math:`a_i`).

    Parameters
    ----------
    n_bins : int, default=15
        Number of bins between 0 and 1.
    temperature : float, default=0.001
        The T, in units of a squared probability.

    Returns
    -------
    Metric
        For `query`; the name ``"calibration"`` is that with the defaults.

    References
    ----------
    .. [1] A. Karandikar et al., "Soft Calibration Objectives for Neural Networks",
       NeurIPS 2021.

    Examples
    --------
    >>> from skinfluence import queries
    >>> queries.calibration(n_bins=10).name
    'calibration'
    """
    n_bins = check_integer("n_bins", n_bins, 1)
    check_temperature(temperature)
    soft = partial(_soft_bins, n_bins=n_bins, temperature=float(temperature))
    return Metric(
        "calibration",
        "log_probabilities",
        partial(_calibration, bins=partial(_hard_bins, n_bins=n_bins)),
        partial(_calibration, bins=soft),
    )


def log_loss() -> SampleMeasure:
    r"""Measure the log loss, whatever the criterion is.

    The mean of :math:`-\log p_i`, with the probability of the sample's class.

    Returns
    -------
    SampleMeasure
        For `query`; the same as the name ``"log_loss"``.

    Examples
    --------
    >>> from skinfluence import queries
    >>> queries.log_loss().name
    'log_loss'
    """
    return SampleMeasure("log_loss", "log_probabilities", _log_losses)


def brier() -> SampleMeasure:
    r"""Measure the Brier score.

    The mean of :math:`\sum_k (p_{ik} - [y_i = k])^2`; half of that with two classes, as
    in scikit-learn.

    Returns
    -------
    SampleMeasure
        For `query`; the same as the name ``"brier"``.

    Examples
    --------
    >>> from skinfluence import queries
    >>> queries.brier().name
    'brier'
    """
    return SampleMeasure("brier", "log_probabilities", _brier)


def labels_of(targets: Tensor) -> Tensor:
    """Return class indices of shape (n,)."""
    if targets.numel() != len(targets):
        raise ValueError(
            "`query` needs one class for each validation sample, got targets of shape "
            f"{tuple(targets.shape)}."
        )
    return targets.reshape(len(targets)).long()


def log_odds(logs: Tensor) -> Tensor:
    """Return the log-odds of the second of two classes, (n,), in double precision."""
    return (logs[:, 1] - logs[:, 0]).double()


def soft_choice(logs: Tensor, temperature: float) -> Tensor:
    """Return how much each sample counts as predicted to be of each class.

    Like a prediction, that does not depend on the scale of the log-probabilities.
    """
    centred = (logs - logs.mean(1, keepdim=True)).double()
    scale = centred.square().mean().sqrt()
    return (centred / (temperature * scale)).softmax(1)


def _check_two_labels(targets: Tensor) -> None:
    found = labels_of(targets).unique()
    if len(found) < 2:
        raise ValueError(
            "`query` needs validation samples of at least two classes, got "
            f"{len(targets)} of one class. Use 'log_loss', or other validation data."
        )


def _one_against_rest(logs: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the log-odds of each class of the targets, and whether it is theirs."""
    labels = labels_of(targets)
    if logs.shape[1] == 2:
        yield log_odds(logs), labels == 1
        return
    for k in labels.unique().tolist():
        rest = torch.cat([logs[:, :k], logs[:, k + 1 :]], dim=1).double()
        yield logs[:, k].double() - rest.logsumexp(1), labels == k


def _over_classes(
    score: Callable[[Tensor, Tensor], Tensor], logs: Tensor, targets: Tensor
) -> Tensor:
    found = [score(*each) for each in _one_against_rest(logs, targets)]
    return 1 - torch.stack(found).mean()


def _auc(odds: Tensor, positive: Tensor) -> Tensor:
    _, place, counts = odds.unique(return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    ranks = (ends - (counts - 1) / 2)[place]
    n_positive = int(positive.sum())
    n_pairs = n_positive * (len(odds) - n_positive)
    return (ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / n_pairs


def _precision(odds: Tensor, positive: Tensor) -> Tensor:
    _, place, counts = (-odds).unique(return_inverse=True, return_counts=True)
    found = torch.zeros_like(counts, dtype=torch.float64)
    found.index_add_(0, place, positive.double())
    return (found * found.cumsum(0) / counts.cumsum(0)).sum() / positive.sum()


def _smooth_auc(odds: Tensor, positive: Tensor, temperature: float) -> Tensor:
    odds = odds / odds.std(correction=0)
    negatives = odds[~positive]

    def won(part: Tensor) -> Tensor:
        return ((part[:, None] - negatives) / temperature).sigmoid().sum()

    total = _by_blocks(won, odds[positive], len(negatives))
    return total / (int(positive.sum()) * len(negatives))


def _smooth_precision(odds: Tensor, positive: Tensor, temperature: float) -> Tensor:
    odds = odds / odds.std(correction=0)

    def precision(part: Tensor) -> Tensor:
        above = ((odds - part[:, None]) / temperature).sigmoid()
        # A sample counts 1/2 before itself, and is to count 1.
        return ((above[:, positive].sum(1) + 0.5) / (above.sum(1) + 0.5)).sum()

    return _by_blocks(precision, odds[positive], len(odds)) / positive.sum()


def _by_blocks(
    function: Callable[[Tensor], Tensor], rows: Tensor, width: int
) -> Tensor:
    """Sum a function over blocks of rows, each computed again on the way back."""
    blocks = rows.split(max(1, _PAIRS // width))
    if len(blocks) == 1:
        return function(rows)
    parts = [checkpoint(function, block, use_reentrant=False) for block in blocks]
    return torch.stack(parts).sum()


def _counted(positives: Tensor, targets: Tensor) -> Tensor:
    """Return 1 - F1 of how much each sample counts as each class, (n, n_classes)."""
    labels = labels_of(targets)
    classes = torch.tensor([1]) if positives.shape[1] == 2 else labels.unique().cpu()
    scores = []
    for k in classes.tolist():
        own, counts = labels == k, positives[:, k]
        scores.append(2 * counts[own].sum() / (counts.sum() + own.sum()))
    return 1 - torch.stack(scores).mean()


def _f1(logs: Tensor, targets: Tensor) -> Tensor:
    chosen = torch.nn.functional.one_hot(logs.argmax(1), logs.shape[1])
    return _counted(chosen.double(), targets)


def _smooth_f1(logs: Tensor, targets: Tensor, temperature: float) -> Tensor:
    return _counted(soft_choice(logs, temperature), targets)


def _calibration(
    logs: Tensor, targets: Tensor, bins: Callable[[Tensor], Tensor]
) -> Tensor:
    most, predicted = logs.double().max(1)
    confidence = most.exp()
    excess = (predicted == labels_of(targets)).double() - confidence
    return (bins(confidence).T @ excess).abs().sum() / len(excess)


def _hard_bins(confidence: Tensor, n_bins: int) -> Tensor:
    place = (confidence * n_bins).ceil().long() - 1
    return torch.nn.functional.one_hot(place.clamp(0, n_bins - 1), n_bins).double()


def _soft_bins(confidence: Tensor, n_bins: int, temperature: float) -> Tensor:
    middles = (torch.arange(n_bins, device=confidence.device) + 0.5) / n_bins
    return (-(confidence[:, None] - middles).square() / temperature).softmax(1)


def _log_losses(logs: Tensor, targets: Tensor) -> Tensor:
    return -logs.gather(1, labels_of(targets)[:, None]).squeeze(1)


def _brier(logs: Tensor, targets: Tensor) -> Tensor:
    own = torch.nn.functional.one_hot(labels_of(targets), logs.shape[1])
    scale = 0.5 if logs.shape[1] == 2 else 1.0
    return scale * (logs.exp() - own).square().sum(1)
