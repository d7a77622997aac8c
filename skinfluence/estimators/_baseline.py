"""Whether a model has learnt anything: its score, and whether chance gives as much."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from skorch.utils import to_numpy

from ._labels import is_multilabel, labels_of

# Standard deviations beyond which the predictions go with the targets not by chance
# alone, and the same where the score is above the constant's too. Of models that have
# learnt nothing, 2 and at most 16 in a hundred are taken for others.
_BEYOND_CHANCE, _WITH_SCORE = 2.0, 1.0

# All pairs of so many validation samples are compared.
_MOST_COMPARED = 2_000

# Interquartile ranges from the median beyond which a target is extreme. Of log-normal
# targets (of shape 1), 3 in 10,000 are.
_EXTREME = 20.0

# A spread that rounding explains, as a share of the compared errors.
_ROUNDING = 1e-9

_BLIND = {
    "accuracy": "where a label is rare",
    "R²": "where some targets are extreme",
}


@dataclass(frozen=True, slots=True)
class Skill:
    """A model's score on validation data, and that of always predicting the same.

    Whether the model has learnt anything is another question than whether its score is
    higher: a single gross error among the targets ruins R², and where one label is
    common nothing is more accurate than to predict it always. It is answered by a
    permutation test: are the predictions nearer to their own targets than to those of
    other samples? No error among the targets counts for more than the predictions
    differ, and a constant, or predictions that have nothing to do with the targets,
    are as near to the others.

    Attributes
    ----------
    score : float
        The model's accuracy, or R².
    baseline : float
        That of always predicting the most frequent label of the training data, or the
        mean of its targets.
    measure : {"accuracy", "R²"}
        What they are.
    constant : str
        What is always predicted.
    z_score : float
        By how much the mean error (of labels one minus the predicted probability, of
        numbers the absolute error) is less than if the targets were exchanged at
        random, in standard deviations of such exchanges; NaN if all targets are the
        same.
    n_extreme : int
        How many targets of the training data are so far from the others (more than 20
        interquartile ranges from the median) that they may drown them; 0 for labels.
    """

    score: float
    baseline: float
    measure: str
    constant: str
    z_score: float
    n_extreme: int

    @property
    def has_learnt(self) -> bool:
        """Whether the predictions go with the targets by more than chance.

        Also where that cannot be told, because all targets are the same.
        """
        enough = _WITH_SCORE if self.score > self.baseline else _BEYOND_CHANCE
        return not self.z_score <= enough

    def __str__(self) -> str:
        return self.in_words("Scale the inputs, train longer, or try another model.")

    def in_words(self, advice: str = "") -> str:
        """Say it in sentences, with advice for a model that has learnt nothing."""
        said = (
            f"Validation {self.measure} {_digits(self.score)}; always predicting "
            f"{self.constant} gives {_digits(self.baseline)}."
        )
        return " ".join(filter(None, (said, *self._verdict(advice))))

    def _verdict(self, advice: str) -> tuple[str, ...]:
        if not self.has_learnt and self.n_extreme:
            return (
                "The model has learnt nothing that helps there but that "
                f"{_targets(self.n_extreme)} of the training data lie far from all "
                f"others (more than {_EXTREME:.0f} interquartile ranges from the "
                "median). Review these first: they drown all other errors.",
            )
        if not self.has_learnt:
            return (
                "The model has learnt nothing that helps there (its predictions go "
                "with the targets no more than by chance), so what harms it says "
                "little about the data.",
                advice,
            )
        if self.score <= self.baseline and not np.isnan(self.z_score):
            return (
                f"But the {self.measure} shows little {_BLIND[self.measure]}: the "
                f"predictions go with the targets by {self.z_score:.0f} standard "
                "deviations more than by chance.",
            )
        return ()


def skill(
    net: Any,
    X_val: object,
    y_val: ArrayLike | None,
    sample_weight_val: ArrayLike | None = None,
    *,
    y: ArrayLike | None = None,
) -> Skill | None:
    """Return the score of a fitted estimator, that of a constant, and their difference.

    `y` holds the targets of the training data, by default those that it was fitted on.
    None where the targets are inside of Datasets, are sequences of labels, or are no
    numbers to be predicted, such as the tokens of a language model.
    """
    y = _training_targets(net) if y is None else np.asarray(y)
    if y is None or y_val is None:
        return None
    if is_classifier(net) and y.ndim > 1 and not is_multilabel(net):
        return None
    y_val = np.asarray(y_val)
    if not is_classifier(net) and np.size(net.predict(X_val)) != y_val.size:
        return None
    blind, blind_val = np.zeros((len(y), 1)), np.zeros((len(y_val), 1))
    if is_classifier(net):
        dummy = DummyClassifier(strategy="most_frequent").fit(blind, y)
        measure, constant = "accuracy", _constant(dummy.predict(blind_val[:1])[0])
        n_extreme = 0
    else:
        dummy = DummyRegressor().fit(blind, y)
        measure, constant = "R²", "the mean target"
        n_extreme = int(extreme_targets(y).sum())
    score, baseline = (
        float(model.score(X, y_val, sample_weight_val))
        for model, X in ((net, X_val), (dummy, blind_val))
    )
    z_score = _z_score(net, X_val, y_val, sample_weight_val)
    return Skill(score, baseline, measure, constant, z_score, n_extreme)


def _constant(label: Any) -> str:
    """Return what is always predicted; of several labels those that most have."""
    if np.ndim(label) == 0:
        return repr(str(label))
    columns = ", ".join(map(str, np.flatnonzero(label)))
    return f"labels {columns}" if columns else "no label"


def _training_targets(net: Any) -> np.ndarray | None:
    targets = [data.y for data in net.training_data_]
    if any(y is None for y in targets):
        return None
    y = np.concatenate([to_numpy(part) for part in targets])
    return labels_of(net).decoded(y) if is_classifier(net) else y


def extreme_targets(y: np.ndarray) -> np.ndarray:
    """Return which samples have a target far from the others, as a mask."""
    low, middle, high = np.percentile(y, [25, 50, 75], axis=0)
    far = np.abs(y - middle) > _EXTREME * (high - low)
    # Where most targets are equal, the others need not be far.
    far &= high > low
    return np.asarray(far.reshape(len(y), -1).any(axis=1))


def _z_score(
    net: Any, X: object, y: np.ndarray, sample_weight: ArrayLike | None
) -> float:
    """Return how far the mean error is below those with exchanged targets."""
    weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight)
    rows = np.random.RandomState(0).permutation(np.flatnonzero(weights > 0))
    rows = rows[:_MOST_COMPARED]
    y, weights = y[rows], weights[rows] / weights[rows].sum()
    if (y == y[:1]).all():
        return float("nan")
    if is_classifier(net):
        errors = _errors_of_labels(net, net.predict_proba(X)[rows], y)
    else:
        errors = _errors_of_numbers(net.predict(X)[rows], y)
    centered = np.sum([_centered(each, weights) for each in errors], axis=0)
    return _permutation_z_score(centered, weights)


def _errors_of_labels(net: Any, proba: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Return the error of each prediction (row) for each sample's label (column)."""
    if is_multilabel(net):
        # A probability's distance from 0 or 1, for each label.
        return _errors_of_numbers(proba, y)
    places = {label: k for k, label in enumerate(net.classes_.tolist())}
    columns = [places[label] for label in y.ravel().tolist()]
    return [1 - proba.astype(np.float64)[:, columns]]


def _errors_of_numbers(predictions: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Return the same for targets, for each output."""
    f, t = (each.reshape(len(y), -1).astype(np.float64).T for each in (predictions, y))
    return list(np.abs(f[:, :, None] - t[:, None, :]))


def _centered(errors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return errors without what is the same for all targets, or for all predictions.

    In units of their spread, so that each output counts the same.
    """
    rows, columns = errors @ weights, weights @ errors
    centered = errors - rows[:, None] - columns + weights @ rows
    spread = _spread(centered, weights)
    if spread <= _ROUNDING * float(np.median(errors)):
        return np.zeros_like(centered)
    return np.asarray(centered / spread)


def _spread(centered: np.ndarray, weights: np.ndarray) -> float:
    return float(np.sqrt(weights @ centered**2 @ weights))


def _permutation_z_score(centered: np.ndarray, weights: np.ndarray) -> float:
    """Return the z-score of the mean of the diagonal under permutations of columns.

    The variance is W. Hoeffding's ("A combinatorial central limit theorem", 1951).
    """
    spread = _spread(centered, weights)
    if spread == 0:
        return 0.0
    # So many samples of equal weight tell as much.
    n_samples = 1 / np.sum(weights**2)
    mean = weights @ np.diag(centered)
    return float(-mean / spread * np.sqrt(n_samples - 1))


def _targets(n: int) -> str:
    return f"{n:,} target{'s' * (n > 1)}"


def _digits(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")
