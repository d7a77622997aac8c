"""Whether a model has learnt anything: its score beside that of a constant."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from skorch.utils import to_numpy


@dataclass(frozen=True, slots=True)
class Skill:
    """A model's score on validation data, and that of always predicting the same.

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
    """

    score: float
    baseline: float
    measure: str
    constant: str

    @property
    def has_learnt(self) -> bool:
        """Whether the model is better than the constant, as far as that can be told.

        It cannot where the constant is always right: all labels are the same.
        """
        return not self.score <= self.baseline or self.baseline == 1

    def __str__(self) -> str:
        return self.in_words("Scale the inputs, train longer, or try another model.")

    def in_words(self, advice: str = "") -> str:
        """Say it in sentences, with advice for a model that has learnt nothing."""
        said = (
            f"Validation {self.measure} {_digits(self.score)}; always predicting "
            f"{self.constant} gives {_digits(self.baseline)}."
        )
        verdict = (
            "The model has learnt nothing that helps there, so what harms it says "
            "little about the data."
        )
        more = () if self.has_learnt else (verdict, advice)
        return " ".join(filter(None, (said, *more)))


def skill(
    net: Any,
    X_val: object,
    y_val: ArrayLike | None,
    sample_weight_val: ArrayLike | None = None,
    *,
    y: ArrayLike | None = None,
) -> Skill | None:
    """Return the score of a fitted estimator, and of a constant.

    `y` holds the targets of the training data, by default those that it was fitted on.
    None where the targets are inside of Datasets.
    """
    y = _training_targets(net) if y is None else np.asarray(y)
    if y is None or y_val is None:
        return None
    y_val = np.asarray(y_val)
    blind, blind_val = np.zeros((len(y), 1)), np.zeros((len(y_val), 1))
    if is_classifier(net):
        dummy = DummyClassifier(strategy="most_frequent").fit(blind, y)
        measure, constant = "accuracy", repr(str(dummy.predict(blind_val[:1])[0]))
    else:
        dummy = DummyRegressor().fit(blind, y)
        measure, constant = "R²", "the mean target"
    score, baseline = (
        float(model.score(X, y_val, sample_weight_val))
        for model, X in ((net, X_val), (dummy, blind_val))
    )
    return Skill(score, baseline, measure, constant)


def _training_targets(net: Any) -> np.ndarray | None:
    targets = [data.y for data in net.training_data_]
    if any(y is None for y in targets):
        return None
    y = np.concatenate([to_numpy(part) for part in targets])
    # In training, labels are their places among the classes.
    return net.classes_[y.astype(np.intp)] if is_classifier(net) else y


def _digits(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")
