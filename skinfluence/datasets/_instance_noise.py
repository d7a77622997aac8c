"""Label noise that depends on the sample."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array

from .._numbers import random_generator
from ._draws import drawn_by_odds
from ._labels import (
    check_classes,
    check_fraction,
    check_labels,
    other_classes,
    replaced,
)

_FOLDS = 5


def flip_labels_by_instance(
    X: Any,
    y: ArrayLike,
    fraction: float,
    *,
    estimator: Any = None,
    difficulty: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Any, NDArray[np.bool_]]:
    r"""Replace a fraction of the labels, more often of hard samples, and return which.

    Instance-dependent noise: annotators err where classes are hard to tell apart [1]_.
    A classifier gives every sample the probabilities :math:`p` of its classes, in five
    folds, without having seen it. The samples are drawn without replacement, one after
    the other, with odds that rise towards the decision boundary as the flip rate of
    type I in [2]_ does,

    .. math:: w = 1 - (p_{(1)} - p_{(2)})^2,

    where :math:`p_{(1)}` and :math:`p_{(2)}` are the two largest probabilities. A label
    is replaced by the most probable of the other classes.

    Parameters
    ----------
    X : array-like of n_samples rows, or None
        The samples, as the classifier takes them. None if `difficulty` is given.
    y : array-like of shape (n_samples,)
        The class labels: integers, booleans, strings or categories.
    fraction : float
        The fraction of labels to flip, between 0 and 1: exactly
        ``round(fraction * n_samples)`` labels.
    estimator : classifier, default=None
        A scikit-learn classifier with ``predict_proba``, which is cloned; by default a
        logistic regression on scaled features.
    difficulty : array-like of shape (n_samples,), default=None
        The odds w themselves, in place of the classifier: finite numbers that are not
        negative. Each flipped label then becomes one of the other classes with equal
        probability.
    random_state : int, RandomState instance or None, default=None
        Draws the folds and the flips. Pass an int for reproducible flips. With the same
        int, the flips at a smaller fraction are a subset of those at a larger one.

    Returns
    -------
    y_noisy : ndarray or Series of shape (n_samples,)
        A copy of ``y`` with flipped labels. A Series keeps its index, name and dtype,
        an array its dtype; a list becomes an array.
    flipped : ndarray of shape (n_samples,), dtype bool
        True where the label was flipped.

    Raises
    ------
    ValueError
        If ``difficulty`` does not hold such numbers, or too few that are positive; if
        it is given with ``X`` or ``estimator``; if a class has fewer than five samples;
        and for the labels and the fraction as in :func:`flip_labels`.
    TypeError
        If ``estimator`` is no classifier with ``predict_proba``.

    See Also
    --------
    flip_labels : Every sample is as likely.

    References
    ----------
    .. [1] X. Xia, T. Liu, B. Han, N. Wang, M. Gong, H. Liu, G. Niu, D. Tao,
       M. Sugiyama, "Part-dependent Label Noise: Towards Instance-dependent Label
       Noise", NeurIPS 2020.
    .. [2] Y. Zhang, S. Zheng, P. Wu, M. Goswami, C. Chen, "Learning with
       Feature-Dependent Label Noise: A Progressive Approach", ICLR 2021.

    Examples
    --------
    The two kinds of iris that are alike are taken for each other most often:

    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence.datasets import flip_labels_by_instance
    >>> X, y = load_iris(return_X_y=True)
    >>> y_noisy, flipped = flip_labels_by_instance(X, y, 0.1, random_state=0)
    >>> np.bincount(y[flipped]).tolist()
    [1, 10, 4]
    """
    fraction = check_fraction("fraction", fraction)
    labels = check_labels(y)
    names = check_classes(y, labels, None)
    rng, n_flipped = random_generator(random_state), round(fraction * len(labels))
    if difficulty is not None:
        odds = _check_difficulty(difficulty, X, estimator, len(labels), n_flipped)
        chosen = drawn_by_odds(odds, n_flipped, rng)
        return replaced(y, chosen, other_classes(names, labels[chosen], rng))
    codes = np.searchsorted(names, labels)
    probabilities = _out_of_fold(estimator, X, codes, names, rng)
    chosen = drawn_by_odds(_nearness(probabilities), n_flipped, rng)
    # The class that the sample has is no candidate.
    probabilities[np.arange(len(codes)), codes] = -1
    return replaced(y, chosen, names[probabilities[chosen].argmax(axis=1)])


def _nearness(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    first, second = -np.sort(-probabilities, axis=1)[:, :2].T
    odds: NDArray[np.float64] = 1 - (first - second) ** 2
    return odds


def _out_of_fold(
    estimator: Any,
    X: Any,
    codes: NDArray[np.intp],
    names: NDArray[Any],
    rng: np.random.RandomState,
) -> NDArray[np.float64]:
    """Return the class probabilities from models that did not see the sample."""
    if X is None:
        raise ValueError("`X` must be given without `difficulty`, got None.")
    model = _default(X) if estimator is None else _check_estimator(estimator)
    if estimator is None:
        _check_finite(X)
    counts = np.bincount(codes)
    if counts.min() < _FOLDS:
        rare = names.tolist()[counts.argmin()]
        raise ValueError(
            f"`y` must have at least {_FOLDS} samples of each class, one for each fold "
            f"of the classifier, got {counts.min()} of {rare!r}. "
            "Pass `difficulty` instead."
        )
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=rng)
    found = cross_val_predict(model, X, codes, cv=folds, method="predict_proba")
    probabilities = np.array(found, dtype=np.float64)
    if not np.isfinite(probabilities).all():
        raise ValueError(
            f"`estimator` must give finite probabilities, got NaN or infinity from "
            f"{model!r:.200}."
        )
    return probabilities


def _check_finite(X: Any) -> None:
    """Refuse what the default classifier does not take."""
    try:
        check_array(X, accept_sparse=True)
    except (TypeError, ValueError) as error:
        (why, *_) = str(error).splitlines()
        raise ValueError(
            f"`X` must hold finite numbers for the default classifier: {why} Fill them "
            "in first, or pass an `estimator` that takes X as it is."
        ) from error


def _default(X: Any) -> Any:
    # Sparse features cannot be centred.
    scaler = StandardScaler(with_mean=not issparse(X))
    return make_pipeline(scaler, LogisticRegression(max_iter=1000))


def _check_estimator(estimator: Any) -> Any:
    if not hasattr(estimator, "predict_proba") or not is_classifier(estimator):
        raise TypeError(
            f"`estimator` must be a classifier with `predict_proba`, got {estimator!r}."
        )
    return estimator


def _check_difficulty(
    difficulty: ArrayLike, X: Any, estimator: Any, n_samples: int, n_flipped: int
) -> NDArray[np.float64]:
    for name, value in (("X", X), ("estimator", estimator)):
        if value is not None:
            raise ValueError(
                f"`{name}` must be None with `difficulty`, which takes its place."
            )
    try:
        odds = np.asarray(difficulty, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`difficulty` must hold numbers, got {difficulty!r}."
        ) from error
    if odds.shape != (n_samples,):
        raise ValueError(
            f"`difficulty` must hold one number for each of the {n_samples} samples, "
            f"got shape {odds.shape}."
        )
    # Negated, so that NaN is refused too.
    if not ((odds >= 0) & (odds < np.inf)).all():
        raise ValueError("`difficulty` must hold finite numbers that are not negative.")
    if (odds > 0).sum() < n_flipped:
        raise ValueError(
            f"`difficulty` must be positive for at least as many samples as are to be "
            f"flipped ({n_flipped}), got {(odds > 0).sum()}. Lower `fraction`."
        )
    return odds
