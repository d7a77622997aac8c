"""The expected error under the right labels, from labels that were confused."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.stats import chi2
from torch import Tensor

from ._classes import labels_of
from ._measures import SampleMeasure

# Of each class, so many samples for each that has its label are looked at, and at least
# so many in all: fewer say little, and among more a class that is hard to recognize
# looks as if it had wrong labels.
_SHARE, _LEAST = 0.05, 40

# Chance makes as large a difference between the classes in one of a hundred samples.
_LEVEL = 0.01

# Models recognize some classes a little better than others, wrong labels or not.
_LESS_REACHED = 0.05

# Beyond this, the inverse of an estimated matrix is mostly noise.
_LARGEST_CONDITION = 100

# What half precision makes of a probability of 1.
_ROUNDING = 1e-3


def corrected_error(transition: ArrayLike) -> SampleMeasure:
    r"""Measure the expected error under the right labels, from noisy ones.

    Where labels are confused with known probabilities
    :math:`T_{jk} = P(\tilde y = k \mid y = j)`, independently of the inputs,

    .. math:: \tilde ℓ(\tilde y) = \sum_j (T^{-1})_{\tilde y j} (1 - p_j)

    has, over the draws of the noisy label :math:`\tilde y`, the mean :math:`1 - p_y`,
    the expected error under the right label (the backward correction of [1]_, for two
    classes that of [2]_). With the identity it is the query ``"error"``. Where every
    class is mistaken as often for each other one, it is ``"error"`` up to a factor and
    a constant, and ranks the same.

    Parameters
    ----------
    transition : array-like of shape (n_classes, n_classes)
        The matrix T, a row for each right class and a column for each label, in the
        order of ``classes_``; each row sums to 1. :func:`estimate_transition` estimates
        it.

    Returns
    -------
    SampleMeasure
        For `query` of classifiers with one label for each sample and without
        `class_weight`: weights that depend on the noisy label would bias it.

    Raises
    ------
    ValueError
        If it is no such matrix, has no inverse, or is a frame, whose names may be in
        another order.

    References
    ----------
    .. [1] G. Patrini, A. Rozza, A. Menon, R. Nock, L. Qu, "Making Deep Neural Networks
       Robust to Label Noise: A Loss Correction Approach", CVPR 2017, Theorem 1.
    .. [2] N. Natarajan, I. Dhillon, P. Ravikumar, A. Tewari, "Learning with Noisy
       Labels", NeurIPS 2013, Lemma 1.

    Examples
    --------
    Three in ten samples of the first class have the second one's label:

    >>> from skinfluence import queries
    >>> queries.corrected_error([[0.7, 0.3], [0, 1]]).name
    'corrected_error'
    """
    matrix = _checked(transition)
    return SampleMeasure(
        "corrected_error",
        "log_probabilities",
        CorrectedError(np.linalg.inv(matrix)),
        n_classes=len(matrix),
        class_weight=False,
    )


def estimate_transition(probabilities: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Estimate how labels are confused, from predictions for samples not trained on.

    The samples that are most surely predicted to be of a class are taken to be of it,
    and how often each label is found there estimates the class's row (anchor points
    [1]_): a twentieth as many samples as have the class's label, and at least 40. Where
    a chi-square test at 1 % does not tell the rates of the classes apart, they all get
    the same one, and every other class is as likely.

    A class that is hard to recognize looks as if it had wrong labels, and no method can
    always tell them apart from the labels alone. Two things hint at it. Its labels are
    found among fewer of the less sure samples, while wrong labels are spread evenly: a
    class with labels that are right at a rate r is held to be recognized if, of as many
    samples as its labels divided by r, those that are most surely of it have nearly
    as large a part of its labels (five points less at most) as for the other
    classes on average. And of three classes or more, one that the models recognize is
    predicted at least as often as it is labelled. A class that is not recognized is
    held to be mistaken no more often than the others are.

    Parameters
    ----------
    probabilities : array-like of shape (n_samples, n_classes)
        Predicted probabilities by models that were not trained on the sample, such as
        those of scikit-learn's ``cross_val_predict(method="predict_proba")``.
    labels : array-like of shape (n_samples,)
        The labels. The columns are of their sorted values, unless they are those of a
        frame and have the labels as names.

    Returns
    -------
    ndarray of shape (n_classes, n_classes), float64
        The matrix, for :func:`corrected_error`.

    Raises
    ------
    ValueError
        If the shapes do not fit, a label is missing, what is given are no
        probabilities, or there is a class of less than 40 samples.

    References
    ----------
    .. [1] G. Patrini, A. Rozza, A. Menon, R. Nock, L. Qu, "Making Deep Neural Networks
       Robust to Label Noise: A Loss Correction Approach", CVPR 2017, Section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfluence import queries
    >>> right = np.repeat([0, 1], 500)
    >>> labels = right.copy()
    >>> labels[:150] = 1
    >>> queries.estimate_transition(np.eye(2)[right], labels).round(1)
    array([[0.7, 0.3],
           [0. , 1. ]])
    """
    found, codes = _codes(probabilities, labels)
    labelled = np.bincount(codes)
    n_anchors = np.maximum(_LEAST, np.rint(_SHARE * labelled))
    counts = np.stack(
        [
            _labels_of_surest(column, codes, number)
            for column, number in zip(found.T, n_anchors, strict=True)
        ]
    )
    _limit_unrecognized(counts, _are_recognized(found, codes, counts))
    return _uniform_unless_sure(counts)


def spread_of(transition: np.ndarray) -> float:
    """Return by how much more one class is mistaken than another."""
    return float(np.ptp(np.diag(transition)))


def is_usable(transition: np.ndarray) -> bool:
    """Return whether an estimate tells the classes apart well enough to be inverted."""
    largest = (transition.argmax(axis=0) == np.arange(len(transition))).all()
    return bool(largest and np.linalg.cond(transition) < _LARGEST_CONDITION)


def _labels_of_surest(
    probability: np.ndarray, codes: np.ndarray, number: float
) -> np.ndarray:
    """Return how many of the samples most surely of a class have each label."""
    # Of equally sure samples, none may come first by the order of the rows.
    least = -np.partition(-probability, int(number) - 1)[int(number) - 1]
    share = np.where(probability > least, 1.0, 0.0)
    ties = probability == least
    share[ties] = (number - share.sum()) / ties.sum()
    return np.bincount(codes, weights=share)


def _are_recognized(
    found: np.ndarray, codes: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Return which classes the models recognize, so that mistakes are the labels'."""
    n_classes, labelled = len(counts), np.bincount(codes)
    rates = np.maximum(np.diag(counts), 1) / counts.sum(axis=1)
    n_right = np.minimum(np.rint(labelled / rates), len(codes))
    reached = [
        _labels_of_surest(found[:, j], codes, n_right[j])[j] / labelled[j]
        for j in range(n_classes)
    ]
    others = (np.sum(reached) - reached) / (n_classes - 1)
    recognized = reached >= others - _LESS_REACHED
    # Of two classes, a model that is unsure of one predicts the other, which has more
    # labels.
    if n_classes > 2:
        predicted = np.bincount(found.argmax(axis=1), minlength=n_classes)
        recognized &= predicted >= labelled
    return np.asarray(recognized)


def _limit_unrecognized(counts: np.ndarray, recognized: np.ndarray) -> None:
    """Give classes that are hard to recognize no more mistakes than the others have.

    It changes the counts in place.
    """
    if not recognized.any():
        recognized = ~recognized
    share = np.diag(counts)[recognized].sum() / counts[recognized].sum()
    for number, row in enumerate(counts):
        total = row.sum()
        if not recognized[number] and row[number] < share * total:
            row[:] = total * (1 - share) / (len(counts) - 1)
            row[number] = total * share


def _uniform_unless_sure(counts: np.ndarray) -> np.ndarray:
    """Return the shares of the labels, made alike where chance may have made them.

    The classes are compared by how often they are mistaken: there are too few samples
    to ask for what.
    """
    n_classes, totals = len(counts), counts.sum(axis=1)
    right = np.diag(counts)
    rate = 1 - right.sum() / counts.sum()
    if 0 < rate < 1:
        expected = totals * (1 - rate)
        statistic = ((right - expected) ** 2 / (expected * rate)).sum()
        if chi2.sf(statistic, n_classes - 1) < _LEVEL:
            return np.asarray(counts / totals[:, None])
    uniform = np.full(counts.shape, rate / (n_classes - 1))
    np.fill_diagonal(uniform, 1 - rate)
    return uniform


def _codes(
    probabilities: ArrayLike, labels: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    names, codes = _classes_of(labels)
    found = _numbers("probabilities", probabilities)
    if found.shape != (len(codes), len(names)) or len(names) < 2:
        raise ValueError(
            "`probabilities` must have a row for each sample and a column for each of "
            f"the classes among `labels`, two at least: got shape {found.shape} for "
            f"{codes.size} labels of {len(names)} classes."
        )
    if not np.isfinite(found).all():
        raise ValueError("`probabilities` must be finite, got NaN or infinity.")
    if found.min() < 0 or found.max() > 1 + _ROUNDING:
        raise ValueError(
            "`probabilities` must be between 0 and 1, as of predict_proba, got "
            f"{found.min():.3g} to {found.max():.3g}."
        )
    counts = np.bincount(codes)
    if counts.min() < _LEAST:
        raise ValueError(
            f"`labels` must have at least {_LEAST} samples of each class to estimate "
            f"how they are confused, got {counts.min()} of "
            f"{names[counts.argmin()]!r:.200}. Give the matrix itself to "
            "corrected_error, or leave rare classes out."
        )
    return found[:, _places(probabilities, names)], codes


def _classes_of(labels: ArrayLike) -> tuple[list[Any], np.ndarray]:
    """Return the sorted classes, and the number of each label's."""
    given = np.asarray(labels)
    try:
        names, codes = np.unique(given, return_inverse=True)
    except TypeError as error:  # None and NaN have no order among texts
        raise ValueError(
            "`labels` must be all texts or all numbers, and none missing, got "
            f"{labels!r:.200}."
        ) from error
    if given.ndim != 1 or (names != names).any():
        got = f"shape {given.shape}" if given.ndim != 1 else "NaN among them"
        raise ValueError(
            "`labels` must be one label for each sample, a 1d array without missing "
            f"values, got {got}. Leave out samples without a label."
        )
    return names.tolist(), codes


def _places(probabilities: Any, names: list[Any]) -> list[int]:
    """Return the columns of the classes: by their names, if a frame has these."""
    columns = [*map(str, getattr(probabilities, "columns", ()))]
    texts = [*map(str, names)]
    named = sorted(columns) == sorted(texts)
    return [*map(columns.index, texts)] if named else [*range(len(names))]


def _numbers(name: str, values: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must be a matrix of numbers, got {values!r:.200}."
        ) from error


def _checked(transition: ArrayLike) -> np.ndarray:
    matrix = _numbers("transition", transition)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ValueError(
            "`transition` must have a row and a column for each class, two at least, "
            f"got shape {matrix.shape}."
        )
    _refuse_names(transition)
    # Negated, so that NaN is refused too.
    if not (matrix >= 0).all() or not np.allclose(matrix.sum(axis=1), 1):
        raise ValueError(
            "`transition` must have rows of probabilities that sum to 1, one for each "
            f"right class, got {matrix.tolist()}."
        )
    if np.linalg.cond(matrix) > 1 / np.sqrt(np.finfo(np.float64).eps):
        raise ValueError(
            "`transition` must have an inverse: with these rows the labels do not tell "
            f"the classes apart, got {matrix.tolist()}."
        )
    return matrix


def _refuse_names(transition: Any) -> None:
    """Refuse a frame, whose names may be in another order than the classes."""
    if hasattr(transition, "columns"):
        raise ValueError(
            "`transition` must be an array in the order of the estimator's `classes_`, "
            f"got a frame with the columns {[*transition.columns]!r:.200}, in an order "
            "that may be another. Give its values, once they are in that order."
        )


@dataclass(frozen=True, slots=True, eq=False)
class CorrectedError:
    """The error of each sample, by the inverse of the transition matrix."""

    inverse: np.ndarray

    def __call__(self, logs: Tensor, targets: Tensor) -> Tensor:
        inverse = torch.as_tensor(self.inverse, dtype=logs.dtype, device=logs.device)
        # The rows of the inverse sum to 1, as those of the matrix do.
        return 1 - (inverse[labels_of(targets)] * logs.exp()).sum(1)
